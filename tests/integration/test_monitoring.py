"""The two checks on published recommendations, a model bundle and marts that are written by hand."""

import io
import json
import logging
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner

from ml.cli import monitoring
from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores.bundles import save_bundle
from ml.stores.operations import Operations, incidents, monitor_states
from ml.stores.registry import promote as promote_version
from ml.stores.versions import VersionStore

DAY = date(2017, 11, 20)
AS_OF = DAY + timedelta(days=1)
WEEK_END = DAY + timedelta(days=7)
FEATURES = ["days_since_purchase", "count_trips", "price_cents"]
CUSTOMERS = [f"household-{number:03d}" for number in range(200)]


def window(seed: int, shift: float = 0.0, rows: int = 600) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame(draw.gamma(2.0, 2.0, (rows, len(FEATURES))).astype(np.float32), columns=FEATURES)
    return (frame + shift).assign(score=draw.normal(size=rows).astype(np.float32))


@pytest.fixture
def settings(configure: Callable[..., Settings]) -> Settings:
    return configure()


@pytest.fixture
def operations(settings: Settings) -> Operations:
    return Operations.from_settings(settings)


def save_model(settings: Settings, reference: pd.DataFrame | None = None) -> str:
    file = io.BytesIO()
    (window(1) if reference is None else reference).to_parquet(file)
    manifest = {"kind": "ranker", "trained_partition": "2017-11-19", "features": FEATURES}
    return save_bundle(settings, "recommender", manifest, {"reference.parquet": file.getvalue()}).version


def publish(settings: Settings, scored: pd.DataFrame, as_of: date = AS_OF, model: str | None = None) -> None:
    """Publish the same two products to everybody."""
    lists = pd.DataFrame(
        [(customer, rank, f"p{rank}") for customer in CUSTOMERS for rank in (1, 2)],
        columns=["customer_id", "rank", "product_id"],
    )
    store = VersionStore(settings.shop_dir / "recommendations")
    tables = {"recommendations": lists, "scored_sample": scored}
    parts = [
        store.write_part(name, "all", pa.Table.from_pandas(rows, preserve_index=False)) for name, rows in tables.items()
    ]
    current = store.current()
    lineage = {"as_of_date": as_of.isoformat(), "model_version": model or save_model(settings)}
    store.publish(parts, lineage, current.id if current else None)


def publish_marts(settings: Settings, served: Callable[[int], bool], target_day: date = WEEK_END) -> None:
    """Everybody buys one product in the week: the first one shown if served, else one that was not shown.

    In the weeks before, everybody bought a third one, so that it is what is popular.
    """
    bought = [(c, "p1" if served(n) else "elsewhere", AS_OF + timedelta(days=n % 7)) for n, c in enumerate(CUSTOMERS)]
    before = [(customer, "popular", AS_OF - timedelta(days=3)) for customer in CUSTOMERS]
    lines = pd.DataFrame(bought + before, columns=["customer_id", "product_id", "order_date"])
    order_ids = [f"o{number}" for number in range(len(lines))]
    lines = lines.assign(is_merchandise=True, is_suspect=False, quantity=1, order_id=order_ids)
    told = [(customer, "young" if number % 2 else "old") for number, customer in enumerate(CUSTOMERS[:160])]
    demographics = pd.DataFrame(told, columns=["customer_id", "age_band"])
    store = VersionStore(settings.shop_dir / "warehouse" / "marts")
    tables = {"fct_order_lines": lines, "audit_demographics": demographics}
    parts = [
        store.write_part(name, "all", pa.Table.from_pandas(rows, preserve_index=False)) for name, rows in tables.items()
    ]
    current = store.current()
    store.publish(parts, {"target_day": target_day.isoformat()}, current.id if current else None)


def states(operations: Operations, **equal: str) -> dict[str, str]:
    """State by object; of a feature, by its name."""
    return {
        row["object"].removeprefix("recommender: "): row["state"] for row in operations.rows(monitor_states, **equal)
    }


def open_rules(operations: Operations) -> set[tuple[str, str, str]]:
    return {(row["kind"], row["rule"], row["severity"]) for row in operations.rows(incidents, state="open")}


def test_a_day_like_the_training_window_is_ok(settings, operations):
    publish(settings, window(2))
    assert monitoring.check_drift(DAY)["states"] == {"ok": 5}
    assert states(operations) == dict.fromkeys(["recommender", *FEATURES, "score"], "ok")
    assert open_rules(operations) == set()
    kept = json.loads((settings.shop_dir / "monitoring" / "2017-11-20" / "recommender" / "drift.json").read_text())
    assert [state["state"] for state in kept["states"]] == ["ok"] * 5


def test_drifted_features_and_scores_alert_once_and_recover(settings, operations):
    moved = window(2, shift=3.0).assign(score=lambda rows: rows["score"] + 1)
    publish(settings, moved)
    assert monitoring.check_drift(DAY)["state"] == "alert"
    assert states(operations, monitor="feature_drift") == dict.fromkeys(FEATURES, "alert")
    broken = {("drift", "share_of_drifted_features", "alert"), ("drift", "score_drift", "alert")}
    assert open_rules(operations) == broken
    monitoring.check_drift(DAY)
    assert len(operations.rows(incidents)) == 2
    assert {row["count"] for row in operations.rows(incidents)} == {1}
    publish(settings, window(3), AS_OF + timedelta(days=1))
    monitoring.check_drift(DAY + timedelta(days=1))
    assert open_rules(operations) == set()


SICK_WINDOWS = {
    "missing column": lambda rows: rows.drop(columns="price_cents"),
    "all null": lambda rows: rows.assign(price_cents=np.float32("nan")),
    "half null": lambda rows: rows.assign(price_cents=rows["price_cents"].where(rows.index % 2 == 0)),
    "infinite": lambda rows: rows.assign(price_cents=rows["price_cents"].where(rows.index > 0, np.float32("inf"))),
    "text": lambda rows: rows.assign(price_cents="12"),
}


@pytest.mark.parametrize("sickness", SICK_WINDOWS)
def test_one_sick_column_is_unknown_and_the_others_are_judged(settings, operations, sickness):
    publish(settings, SICK_WINDOWS[sickness](window(2)))
    assert monitoring.check_drift(DAY)["state"] == "unknown"
    assert states(operations, monitor="feature_drift") == {
        "days_since_purchase": "ok",
        "count_trips": "ok",
        "price_cents": "unknown",
    }
    assert open_rules(operations) == {("drift", "can_be_judged", "unknown")}


def test_too_few_rows_are_unknown(settings, operations):
    publish(settings, window(2, rows=3))
    assert monitoring.check_drift(DAY)["state"] == "unknown"
    assert set(states(operations).values()) == {"unknown"}
    assert open_rules(operations) == {("drift", "can_be_judged", "unknown")}


def test_a_constant_and_an_empty_column_hinder_nothing(settings, operations):
    def dull(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(price_cents=np.float32(5), count_trips=np.float32("nan"))

    publish(settings, dull(window(2)), model=save_model(settings, dull(window(1))))
    assert monitoring.check_drift(DAY)["states"] == {"ok": 5}


def test_a_constant_that_changed_is_drift(settings, operations):
    model = save_model(settings, window(1).assign(price_cents=np.float32(5)))
    publish(settings, window(2).assign(price_cents=np.float32(6)), model=model)
    monitoring.check_drift(DAY)
    assert states(operations, monitor="feature_drift")["price_cents"] == "alert"


def test_a_damaged_bundle_is_unknown_and_fails_the_step(settings, operations):
    version = save_model(settings)
    publish(settings, window(2), model=version)
    (settings.shop_dir / "models" / "recommender" / version / "reference.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataFailed, match=r"reference\.parquet"):
        monitoring.check_drift(DAY)
    assert states(operations) == {"recommender": "unknown"}
    assert open_rules(operations) == {("drift", "can_be_judged", "unknown")}


def test_a_baseline_learnt_from_no_window_and_tells_nobody(settings, operations):
    manifest = {"kind": "baseline", "trained_partition": "2017-11-19", "features": []}
    publish(settings, window(2), model=save_bundle(settings, "recommender", manifest, {}).version)
    assert monitoring.check_drift(DAY)["state"] == "unknown"
    assert "is a baseline" in operations.rows(monitor_states)[0]["detail"]["why"]
    assert open_rules(operations) == set()


def test_nothing_published_for_the_day_is_unknown_unless_a_later_day_was_first(settings, operations):
    monitoring.check_drift(DAY)
    assert open_rules(operations) == set()  # there is no champion yet
    publish(
        settings, window(2), model=promote_version(settings, "recommender", save_model(settings), DAY).champion.version
    )
    monitoring.check_drift(DAY - timedelta(days=1))
    assert open_rules(operations) == set()
    monitoring.check_drift(DAY + timedelta(days=1))
    assert open_rules(operations) == {("drift", "can_be_judged", "unknown")}


def test_a_day_is_judged_again_after_its_version_was_pruned(settings, operations):
    publish(settings, window(2))
    monitoring.check_drift(DAY)
    for later in range(1, 5):
        publish(settings, window(2 + later), AS_OF + timedelta(days=later))
    VersionStore(settings.shop_dir / "recommendations").prune(2)
    assert monitoring.check_drift(DAY)["states"] == {"ok": 5}


def test_the_report_is_made_from_what_is_kept_and_names_no_customer(settings, operations):
    publish(settings, window(2, shift=3.0))
    monitoring.check_drift(DAY)
    shown = CliRunner().invoke(monitoring.report, ["drift", "--partition", "2017-11-20"])
    assert shown.exit_code == 0, shown.output
    page = (settings.shop_dir / "monitoring" / "2017-11-20" / "recommender" / "drift.html").read_text()
    assert shown.output.strip().endswith("drift.html")
    assert "days_since_purchase" in page
    assert "household-" not in page


def test_before_the_week_has_ended_quality_is_unknown_and_tells_nobody(settings, operations):
    publish(settings, window(2))
    publish_marts(settings, served=lambda _number: True, target_day=DAY)
    assert monitoring.check_performance(DAY)["state"] == "unknown"
    (row,) = operations.rows(monitor_states)
    assert row["detail"]["why"] == "not yet mature: the first week ends on 2017-11-27"
    assert open_rules(operations) == set()


def test_past_recommendations_are_judged_when_their_week_has_ended(settings, operations):
    publish(settings, window(2))
    monitoring.check_performance(DAY)
    publish_marts(settings, served=lambda number: number // 2 % 4 != 0)
    result = monitoring.check_performance(WEEK_END)
    # Three of four, in either age band, buy what is at rank 1: hit, recall and NDCG are 1 for them, else 0.
    assert result["judged"] == {"2017-11-27": {"state": "ok", "ndcg_at_10": 0.75}}
    (row,) = operations.rows(monitor_states, monitor="performance", partition="2017-11-27")
    detail = row["detail"]
    assert (detail["customers"], detail["hit_rate_at_10"], detail["recall_at_10"]) == (200, 0.75, 0.75)
    assert open_rules(operations) == set()


def test_a_week_is_not_judged_before_its_last_day_whatever_else_has_landed(settings, operations):
    publish(settings, window(2))
    monitoring.check_performance(DAY)
    publish_marts(settings, served=lambda _number: True, target_day=WEEK_END + timedelta(days=5))
    early = monitoring.check_performance(WEEK_END - timedelta(days=1))
    assert (early["state"], list(early["judged"])) == ("unknown", ["2017-11-26"])
    assert monitoring.check_performance(WEEK_END)["state"] == "ok"


def test_a_week_that_was_judged_is_not_judged_again_on_a_later_day(settings, operations):
    publish(settings, window(2))
    monitoring.check_performance(DAY)
    publish_marts(settings, served=lambda _number: True)
    monitoring.check_performance(WEEK_END)
    publish_marts(settings, served=lambda _number: False, target_day=WEEK_END + timedelta(days=1))
    assert set(monitoring.check_performance(WEEK_END + timedelta(days=1))["judged"]) == {"2017-11-28"}
    assert states(operations, monitor="performance", partition="2017-11-27") == {"recommender": "ok"}


def test_a_week_that_was_missed_is_judged_later_under_its_own_day(settings, operations):
    publish(settings, window(2))
    monitoring.check_performance(DAY)
    publish_marts(settings, served=lambda _number: True, target_day=WEEK_END + timedelta(days=2))
    publish(settings, window(3), AS_OF + timedelta(days=2))
    result = monitoring.check_performance(WEEK_END + timedelta(days=1))
    assert result["judged"]["2017-11-27"] == {"state": "ok", "ndcg_at_10": 1.0}
    assert result["state"] == "unknown"


def test_recommendations_that_nobody_wanted_alert(settings, operations):
    publish(settings, window(2))
    monitoring.check_performance(DAY)
    publish_marts(settings, served=lambda _number: False)
    assert monitoring.check_performance(WEEK_END)["state"] == "alert"
    assert open_rules(operations) == {("performance", "holds_its_quality", "alert")}


def test_a_group_that_is_served_worse_alerts_without_naming_it(settings, operations):
    publish(settings, window(2))
    monitoring.check_performance(DAY)
    # Those of an odd number are the young: they are always served, of the others every second one.
    publish_marts(settings, served=lambda number: number % 2 == 1 or number % 4 == 0)
    monitoring.check_performance(WEEK_END)
    assert states(operations, monitor="bias") == {
        "hit by age_band": "alert",
        "ndcg by age_band": "alert",
        "hit by has_demographics": "unknown",
        "ndcg by has_demographics": "unknown",
    }
    assert open_rules(operations) == {
        ("bias", "recommender: hit by age_band", "alert"),
        ("bias", "recommender: ndcg by age_band", "alert"),
    }
    for row in operations.rows(incidents):
        assert "young" not in row["title"] + row["body"]


def test_marts_that_cannot_be_read_make_quality_unknown(settings, operations):
    publish(settings, window(2))
    monitoring.check_performance(DAY)
    with pytest.raises(DataFailed):
        monitoring.check_performance(WEEK_END)
    assert states(operations, partition="2017-11-27") == {"recommender": "unknown"}
    assert open_rules(operations) == {("performance", "can_be_judged", "unknown")}


COMMANDS = [(monitoring.report, "status"), (monitoring.monitor, "--why")]


def test_pages_and_logs_hold_no_customer(settings, operations, caplog):
    caplog.set_level(logging.DEBUG)
    publish(settings, window(2, shift=3.0))
    monitoring.check_drift(DAY)
    publish_marts(settings, served=lambda _number: False)
    monitoring.check_performance(WEEK_END)
    outputs = [CliRunner().invoke(command, [option]) for command, option in COMMANDS]
    assert [output.exit_code for output in outputs] == [0, 0]
    files = [path for path in settings.shop_dir.rglob("*") if path.suffix in (".json", ".html")]
    assert "index.html" in {path.name for path in files}
    written = [caplog.text, *(output.output for output in outputs), *(path.read_text() for path in files)]
    assert not any("household-" in text for text in written)
