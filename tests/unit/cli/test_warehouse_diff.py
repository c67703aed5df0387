"""What an edit changes is shown with the models that would score no more."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pyarrow as pa
import pytest
from click.testing import CliRunner

from ml.cli import warehouse, warehouse_diff
from ml.settings import Settings
from ml.stores import registry
from ml.stores.bundles import save_bundle
from ml.stores.feature_versions import record_feature_versions
from ml.stores.mart_diff import ColumnChange, MartDiff, MartsDiff
from ml.stores.operations import Operations
from ml.stores.warehouse import marts_store

DAY = date(2017, 11, 19)
SAME = MartDiff("dim_customers", ("customer_id",), (3, 3), 0, 0, 0)


@pytest.fixture
def settings(configure: Callable[..., Settings]) -> Settings:
    """A shop with published marts, whose champion was trained on one customer and one product feature."""
    settings = configure()
    store = marts_store(settings)
    fingerprints = {"feat_customer": "a", "feat_product": "p"}
    part = store.write_part("dim_customers", "all", pa.table({"customer_id": ["c"]}))
    published = store.publish([part], {"target_day": str(DAY), "raw_version": "v1", "fingerprints": fingerprints}, None)
    record_feature_versions(Operations.from_settings(settings), published)
    trained_on = {"feat_customer.count_orders_7d": "x", "feat_product.trend": "y"}
    manifest = {"kind": "ranker", "trained_partition": str(DAY), "fingerprints": trained_on}
    bundle = save_bundle(settings, "recommender", manifest, {"model.json": b"{}"})
    registry.promote(settings, "recommender", bundle.version, DAY)
    return settings


@pytest.fixture
def shown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What the command prints about a difference."""
    published = marts_store(settings).current()
    assert published is not None
    unchanged = MartsDiff(published.id, DAY, "v1", (SAME,), {}, ())

    def run(**changes: object) -> str:
        found = replace(unchanged, **changes)  # type: ignore[arg-type]
        monkeypatch.setattr(warehouse_diff, "diff_marts", lambda *_: found)
        result = CliRunner().invoke(warehouse.warehouse, ["diff"])
        assert result.exit_code == 0, result.output
        return result.output

    return run


def champion(settings: Settings) -> str:
    bundle = registry.load_champion(settings, "recommender")
    assert bundle is not None
    return bundle.version


def test_nothing_that_changes_is_said(shown: Callable[..., str]) -> None:
    told = shown()
    assert "no mart changes" in told
    assert "no feature gets a new definition" in told


def test_a_champion_trained_on_a_feature_that_changes_is_named(shown: Callable[..., str], settings: Settings) -> None:
    told = shown(features={"feat_customer": "b"}, feature_columns=("feat_customer.count_orders_7d",))
    (line,) = [line for line in told.splitlines() if line.startswith("feat_customer")]
    assert line.split() == ["feat_customer", "1", "->", "2", "(new)", "count_orders_7d", champion(settings)]
    assert "score no more until they are trained again" in told


def test_a_champion_that_does_not_use_what_changes_is_left_in_peace(shown: Callable[..., str]) -> None:
    told = shown(features={"feat_customer": "b"}, feature_columns=("feat_customer.amount_cents_28d",))
    assert "score no more" not in told


def test_where_columns_have_no_fingerprint_their_mart_stands_for_them(
    shown: Callable[..., str], settings: Settings
) -> None:
    assert champion(settings) in shown(features={"feat_product": "q"}, feature_columns=())


def test_rows_columns_and_shifts_of_a_mart_are_told(shown: Callable[..., str]) -> None:
    change = ColumnChange("amount", 0.25, (0.0, 0.125), (10.0, 12.5))
    mart = MartDiff("fct_orders", ("order_id",), (8, 9), 2, 1, 2, ("tax",), ("tip",), {"n": "INT -> DOUBLE"}, (change,))
    lines = [line.split() for line in shown(marts=(SAME, mart)).splitlines()]
    assert ["fct_orders", "8", "->", "9", "2", "1", "2", "tax", "tip", "n", "INT", "->", "DOUBLE"] in lines
    assert ["fct_orders.amount", "25.0%", "0.0%", "->", "12.5%", "10", "->", "12.5"] in lines
    assert "dim_customers" not in {word for line in lines for word in line}
