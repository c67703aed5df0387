"""The recommender's steps on a generated shop: trained, decided, published; run again, changed, rolled back."""

import json
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ml.cli import recommender
from ml.cli.promotion import challenge_path
from ml.cli.recommender.inputs import recommendations_store
from ml.outcomes import DataFailed, ToolFailed
from ml.recommender.features import FEATURES
from ml.recommender.online import Filters
from ml.serving.recommender_parts import load_recommender
from ml.settings import Settings, get_settings
from ml.shop.generated import small_shop
from ml.stores import registry
from ml.stores.bundles import REFERENCE
from ml.stores.customer_rows import open_customer_rows
from ml.stores.feast_repo import apply_if_changed
from ml.stores.operations import Operations, gate_verdicts, incidents, promotions
from ml.stores.versions import Version
from ml.stores.warehouse import marts_store
from tests.feature_marts import mart_rows

FIRST_DAY = date(2024, 1, 1)  # a Monday
DAYS = 42
LAST_DAY = FIRST_DAY + timedelta(days=DAYS - 1)
STEPS = ("build_training_set", "gate_training_set", "train_challenger", "decide_promotion", "publish_recommendations")

_LINES = """
    select lines.order_line_id, lines.order_id, orders.customer_id, lines.product_id, orders.store_id, lines.ordered_at,
           (lines.ordered_at at time zone 'UTC')::date as order_date, lines.quantity, lines.amount_cents,
           lines.discount_cents, products.is_merchandise, false as is_suspect
    from '{shop}/order_lines/*.parquet' as lines
    inner join '{shop}/orders/*.parquet' as orders using (order_id)
    inner join '{shop}/products.parquet' as products using (product_id)
    order by lines.order_line_id
"""


def _publish_marts(settings: Settings, shop: Path, changes: dict[str, str] | None = None) -> Version:
    """Marts up to the last day; features are flat, so that the ranker learns from pairs alone."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        tables = {
            "fct_order_lines": connection.sql(_LINES.format(shop=shop)).to_arrow_table(),
            "dim_products": pq.read_table(shop / "products.parquet"),
            "dim_customers": pq.read_table(shop / "customers.parquet", columns=["customer_id", "registered_at"]),
            "audit_demographics": pq.read_table(shop / "demographics.parquet"),
        }
    days = [FIRST_DAY + timedelta(days=offset) for offset in (14, 21, 28, 35, 42)]
    for table, key, dimension in (
        ("feat_customer", "customer_id", "dim_customers"),
        ("feat_product", "product_id", "dim_products"),
    ):
        ids = tables[dimension][key].to_pylist()
        tables[table] = pa.concat_tables([mart_rows(settings, table, [(one, day, 1.0) for one in ids]) for day in days])
    store = marts_store(settings)
    parts = []
    for name, rows in tables.items():
        if name.startswith("feat_"):
            for day in days:
                chosen = rows.filter(pa.compute.equal(rows["as_of_date"], pa.scalar(day)))
                parts.append(store.write_part(name, day.isoformat(), chosen))
        else:
            parts.append(store.write_part(name, "all", rows))
    fingerprints = {"feat_customer": "customer-1", "feat_product": "product-1"} | (changes or {})
    lineage = {"shop_id": settings.shop_id, "target_day": LAST_DAY.isoformat(), "fingerprints": fingerprints}
    current = store.current()
    return store.publish(parts, lineage, current.id if current else None)


def _use(patch: pytest.MonkeyPatch, state_dir: Path, shop: Path) -> Settings:
    for name, value in {
        "state_dir": state_dir,
        "shop_id": "smallshop",
        "source": "files",
        "files_dir": shop,
        "timezone": "UTC",
        "first_day": FIRST_DAY,
        "bootstrap_day": LAST_DAY,
        "last_day": LAST_DAY,
    }.items():
        patch.setenv(f"SHOPWRIGHT_{name.upper()}", str(value))
    get_settings.cache_clear()
    return get_settings()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, dict[str, dict[str, Any]]]]:
    """State folder and shop after all steps, with what each step returned."""
    folder = tmp_path_factory.mktemp("recommender")
    shop = small_shop(folder / "shop", FIRST_DAY, DAYS, seed=4)
    with pytest.MonkeyPatch.context() as patch:
        settings = _use(patch, folder / "var", shop)
        _publish_marts(settings, shop)
        apply_if_changed(settings)
        done = {name: getattr(recommender, name)(LAST_DAY) for name in STEPS}
    yield folder / "var", shop, done


@pytest.fixture
def settings(trained: tuple[Path, Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The trained shop's state, copied, so that a test may change it."""
    state, shop, _ = trained
    shutil.copytree(state, tmp_path / "var")
    settings = _use(monkeypatch, tmp_path / "var", shop)
    apply_if_changed(settings)  # the registry holds absolute paths
    return settings


@pytest.fixture
def done(trained: tuple[Path, Path, dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    return trained[2]


def test_five_label_weeks_of_a_small_shop_are_enough(done: dict[str, dict[str, Any]]) -> None:
    cuts = done["build_training_set"]["cuts"]
    assert cuts == {"training": ["2024-01-15", "2024-01-22"], "promotion": ["2024-01-29", "2024-02-05"]}


def test_the_first_champion_is_the_best_baseline_and_the_ranker_its_challenger(
    settings: Settings, done: dict[str, dict[str, Any]]
) -> None:
    first, challenge = Operations.from_settings(settings).rows(promotions)
    metrics = done["train_challenger"]["metrics"]
    baselines = {name: summary["ndcg_at_10"] for name, summary in metrics.items() if name != "ranker"}
    assert first["champion"] is None
    assert first["verdict"] == "promoted"
    manifest = json.loads(
        (settings.shop_dir / "models/recommender" / first["challenger"] / "manifest.json").read_text()
    )
    assert (manifest["kind"], manifest["name"]) == ("baseline", max(baselines, key=lambda name: baselines[name]))
    assert challenge["champion"] == first["challenger"]
    assert challenge["challenger"] == done["train_challenger"]["challenger"]
    assert {rule["status"] for rule in challenge["rules"]} <= {"passed", "failed"}


def test_a_refused_challenge_leaves_the_champion_and_tells_operators(
    settings: Settings, done: dict[str, dict[str, Any]]
) -> None:
    path = challenge_path(settings, "recommender", LAST_DAY)
    challenge = json.loads(path.read_text()) | {"challenger": "recommender-2024-02-11-00000000"}
    before = registry.champion(settings, "recommender")
    assert before is not None
    challenge |= {"champion": before.version, "first_champion": None}
    challenge["measured"]["ndcg_gain"] |= {"low": -0.5}
    path.write_text(json.dumps(challenge))
    decided = recommender.decide_promotion(LAST_DAY)
    assert decided["verdict"] == "refused"
    assert registry.champion(settings, "recommender") == before
    operations = Operations.from_settings(settings)
    stored = operations.rows(promotions)[-1]
    failed = {rule["rule"]: rule["observed"] for rule in stored["rules"] if rule["status"] == "failed"}
    assert failed["ndcg_at_10_gain_low"] == -0.5
    opened = operations.rows(incidents, state="open", kind="promotion_refused")
    assert len(opened) == 1
    assert "ndcg_at_10_gain_low: failed" in opened[0]["body"]


def test_deciding_against_a_champion_that_has_changed_is_refused(settings: Settings) -> None:
    path = challenge_path(settings, "recommender", LAST_DAY)
    challenge = json.loads(path.read_text())
    path.write_text(json.dumps(challenge | {"champion": "somebody", "challenger": "else", "first_champion": None}))
    with pytest.raises(ToolFailed, match="the champion has changed"):
        recommender.decide_promotion(LAST_DAY)


def test_every_customer_is_served_with_reason_and_source(settings: Settings) -> None:
    store = recommendations_store(settings)
    version = store.current()
    assert version is not None
    rows = store.read(version, "recommendations").to_pandas()
    customers = pd.read_parquet(settings.files_dir / "customers.parquet")["customer_id"]
    assert set(rows["customer_id"]) == set(customers)
    assert rows.groupby("customer_id").size().unique().tolist() == [10]
    assert not rows.duplicated(["customer_id", "product_id"]).any()
    assert rows["reason"].str.len().min() > 5
    assert set(rows["as_of_date"]) == {LAST_DAY + timedelta(days=1)}
    champion = registry.champion(settings, "recommender")
    assert champion is not None
    assert set(rows["model_version"]) == {champion.version}
    assert version.lineage["model_version"] == champion.version


def test_running_the_steps_again_changes_nothing(settings: Settings, done: dict[str, dict[str, Any]]) -> None:
    for name in ("build_training_set", "train_challenger", "publish_recommendations"):
        again = getattr(recommender, name)(LAST_DAY)
        for key in ("version", "challenger", "champion"):
            assert again.get(key) == done[name].get(key), f"{name} {key}"
    before = Operations.from_settings(settings).rows(promotions)
    assert recommender.decide_promotion(LAST_DAY)["challenger"] == done["decide_promotion"]["challenger"]
    assert [row["verdict"] for row in Operations.from_settings(settings).rows(promotions)] == [
        row["verdict"] for row in before
    ]


def test_a_reference_of_features_and_scores_without_ids_is_kept(
    settings: Settings, done: dict[str, dict[str, Any]]
) -> None:
    folder = settings.shop_dir / "models" / "recommender" / done["train_challenger"]["challenger"]
    assert list(pd.read_parquet(folder / REFERENCE).columns) == [*FEATURES, "score"]


def test_a_changed_feature_stops_scoring_and_leaves_the_last_version(
    settings: Settings, done: dict[str, dict[str, Any]]
) -> None:
    registry.promote(settings, "recommender", done["train_challenger"]["challenger"], LAST_DAY)
    published = recommendations_store(settings).current()
    assert settings.files_dir is not None
    _publish_marts(settings, settings.files_dir, {"feat_customer": "customer-2"})
    with pytest.raises(DataFailed, match=r"feat_customer\.\w+.* changed since"):
        recommender.publish_recommendations(LAST_DAY)
    assert recommendations_store(settings).current() == published
    operations = Operations.from_settings(settings)
    assert len(operations.rows(incidents, state="open", kind="feature_changed")) == 1
    _publish_marts(settings, settings.files_dir)
    recommender.publish_recommendations(LAST_DAY)
    assert operations.rows(incidents, state="open", kind="feature_changed") == []


def test_a_rolled_back_challenger_is_not_promoted_again(settings: Settings, done: dict[str, dict[str, Any]]) -> None:
    challenger = done["train_challenger"]["challenger"]
    registry.promote(settings, "recommender", challenger, LAST_DAY)
    registry.rollback(settings, "recommender")
    decided = recommender.decide_promotion(LAST_DAY)
    assert decided["verdict"] == "refused"
    failed = {rule["rule"] for rule in decided["rules"] if rule["status"] == "failed"}
    assert "rolled_back_before" in failed
    champion = registry.champion(settings, "recommender")
    assert champion is not None
    assert champion.version != challenger


def test_nothing_is_trained_on_a_set_that_the_gate_has_not_passed(settings: Settings) -> None:
    operations = Operations.from_settings(settings)
    with operations.transaction() as connection:
        connection.execute(gate_verdicts.update().values(status="failed"))
    with pytest.raises(DataFailed, match="has not passed the model-input gate"):
        recommender.train_challenger(LAST_DAY)


def test_too_few_label_weeks_are_said_so(settings: Settings) -> None:
    with pytest.raises(DataFailed, match="1 complete label weeks"):
        recommender.build_training_set(FIRST_DAY + timedelta(days=20))


def test_without_a_champion_nothing_is_published(settings: Settings) -> None:
    (settings.shop_dir / "models" / "recommender" / "champion.json").unlink()
    assert recommender.publish_recommendations(LAST_DAY)["skipped"] == "there is no champion yet"


def test_the_command_prints_ten_with_reasons_and_says_when_it_does_not_know_the_customer(settings: Settings) -> None:
    known = CliRunner().invoke(recommender.recommend, ["c0001"], catch_exceptions=False)
    assert known.exit_code == 0
    assert "this customer is not known" not in known.output
    assert len([line for line in known.output.splitlines() if "Product " in line]) == 10
    unknown = CliRunner().invoke(recommender.recommend, ["stranger"], catch_exceptions=False)
    assert "this customer is not known" in unknown.output
    assert unknown.output.count("Popular in the shop lately") == 10


def test_a_request_ranks_what_the_batch_published_for_every_customer(
    settings: Settings, done: dict[str, dict[str, Any]]
) -> None:
    registry.promote(settings, "recommender", done["train_challenger"]["challenger"], LAST_DAY)
    recommender.publish_recommendations(LAST_DAY)
    parts = load_recommender(settings)
    version = recommendations_store(settings).current()
    assert version is not None
    assert parts.rows_version is not None
    published = recommendations_store(settings).read(version, "recommendations").to_pandas()
    rows = open_customer_rows(settings).read(list(published["customer_id"].unique()), parts.rows_version)
    checked = 0
    for customer, of_customer in published.sort_values("rank").groupby("customer_id"):
        expected = list(zip(of_customer["product_id"], of_customer["reason"], strict=True))
        if str(customer) not in rows:
            assert not parts.engine.knows(str(customer))
            continue
        offer = parts.engine.rank(str(customer), rows[str(customer)], 10, Filters())
        assert [(item.product_id, item.reason) for item in offer.items if not offer.is_explored] == (
            [] if offer.is_explored else expected
        )
        listed = parts.engine.batch(str(customer), 10, Filters())
        assert listed.is_explored or [(item.product_id, item.reason) for item in listed.items] == expected
        checked += not offer.is_explored
    assert checked > 50
