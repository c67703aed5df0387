"""Feast's own SQLite store behind the watermark: what it holds after days have run in any order."""

import json
from collections.abc import Callable
from datetime import date, timedelta

import pandas as pd
import pyarrow as pa
import pytest

from ml.cli.features import materialize_features
from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores.feast_repo import apply_if_changed, features_dir, open_feature_store
from ml.stores.online_features import check_rows, materialize, parity, read_online, watermark
from ml.stores.operations import Operations, incidents
from ml.stores.rollback import roll_back
from ml.stores.warehouse import Marts, open_marts
from tests.feature_marts import mart_rows, publish_feature_marts

MONDAY = date(2017, 11, 20)
CUSTOMERS = ["always", "left", "joined"]


@pytest.fixture
def settings(configure: Callable[..., Settings]) -> Settings:
    return configure()


def _publish(settings: Settings, as_of_date: date, late: float = 0) -> Marts:
    """Marts whose newest rows hold at the start of a day of the week after MONDAY.

    `left` has rows up to Wednesday, `joined` from Thursday on, and every value is the number of the day.
    """
    number = (as_of_date - MONDAY).days
    current = [("always", as_of_date, number + late)]
    current += [("left", as_of_date, number + late)] if number <= 2 else [("joined", as_of_date, number + late)]
    rows = [("always", MONDAY, 0.0), ("left", MONDAY, 0.0), *(current if number else [])]
    tables = {
        "feat_customer": mart_rows(settings, "feat_customer", rows),
        "feat_product": mart_rows(settings, "feat_product", [("milk", as_of_date, 1)]),
    }
    return publish_feature_marts(settings, as_of_date - timedelta(days=1), tables)


def _online(settings: Settings, as_of_date: date) -> dict[str, tuple[date | None, float | None]]:
    found = read_online(settings, CUSTOMERS, settings.day_start(as_of_date))
    return {
        customer: (row["as_of_date"], None if pd.isna(row["amount_cents_28d"]) else row["amount_cents_28d"])
        for customer, row in found.iterrows()
    }


def test_the_end_state_is_the_same_day_by_day_and_in_one_go(
    settings: Settings, configure: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory
) -> None:
    friday = MONDAY + timedelta(days=4)
    for offset in range(5):
        marts = _publish(settings, MONDAY + timedelta(days=offset))
        assert materialize(settings, marts).outcome == "written"
        assert parity(settings, marts).differences == ()
    day_by_day = _online(settings, friday)
    fresh = configure(state_dir=tmp_path_factory.mktemp("fresh"))
    assert materialize(fresh, _publish(fresh, friday)).outcome == "written"
    # `left` had Wednesday's value online; with Wednesday's rows dropped, Monday's is the newest published.
    assert _online(fresh, friday) == day_by_day
    assert day_by_day == {"always": (friday, 4.0), "left": (MONDAY, 0.0), "joined": (friday, 4.0)}


def test_an_older_day_writes_nothing_and_the_same_day_again_writes_nothing(settings: Settings) -> None:
    older = _publish(settings, MONDAY + timedelta(days=3))
    newest = MONDAY + timedelta(days=4)
    marts = _publish(settings, newest)
    assert materialize(settings, marts).outcome == "written"
    before = (features_dir(settings) / "online.db").read_bytes()
    assert materialize(settings, marts).outcome == "unchanged"
    assert materialize(settings, older).outcome == "older"
    assert (features_dir(settings) / "online.db").read_bytes() == before
    assert _online(settings, newest)["always"] == (newest, 4.0)


def test_late_rows_that_change_the_current_day_reach_the_online_store(settings: Settings) -> None:
    newest = MONDAY + timedelta(days=4)
    materialize(settings, _publish(settings, newest))
    assert materialize(settings, _publish(settings, newest, late=0.5)).outcome == "written"
    assert read_online(settings, ["always"], settings.day_start(newest))["repeat_share_91d"].tolist() == [4.5]


def test_a_value_older_than_its_ttl_is_missing_though_feast_calls_it_present(settings: Settings) -> None:
    apply_if_changed(settings)
    materialize(settings, _publish(settings, MONDAY))
    last_day = MONDAY + timedelta(days=8)
    assert _online(settings, last_day)["always"] == (MONDAY, 0.0)
    assert _online(settings, last_day + timedelta(days=1))["always"] == (None, None)
    assert _online(settings, MONDAY - timedelta(days=1))["always"] == (None, None)  # not known yet then
    store = open_feature_store(settings, features_dir(settings))
    answer = store.get_online_features(["feat_customer:amount_cents_28d"], [{"customer_id": "always"}]).to_dict()
    assert answer["amount_cents_28d"] == [0]


def test_without_a_moment_ages_count_to_the_shop_clock(settings: Settings) -> None:
    materialize(settings, _publish(settings, MONDAY))
    assert read_online(settings, ["always", "stranger"])["as_of_date"].tolist() == [MONDAY, None]


def test_parity_names_the_feature_that_differs_and_opens_an_incident_until_it_agrees(settings: Settings) -> None:
    day = MONDAY - timedelta(days=1)
    marts = _publish(settings, MONDAY)
    assert materialize_features(day)["parity_checked"] == 2
    other = mart_rows(settings, "feat_customer", [("always", MONDAY, 0.0), ("left", MONDAY, 9.0)])
    changed = publish_feature_marts(settings, day, {"feat_customer": other})
    mark = watermark(settings)
    assert mark is not None
    marker = features_dir(settings) / "watermark.json"
    materialize(settings, changed)
    forged = json.loads(marker.read_bytes())
    publish_feature_marts(
        settings,
        day,
        {"feat_customer": mart_rows(settings, "feat_customer", [("always", MONDAY, 0.0), ("left", MONDAY, 0.0)])},
    )
    # The watermark claims that the new version is online already, so nothing is written and parity must notice.
    marker.write_text(json.dumps({**forged, "inputs": mark.inputs}))
    with pytest.raises(DataFailed, match="amount_cents_28d differs for 1 of 2 customers"):
        materialize_features(day)
    operations = Operations.from_settings(settings)
    (incident,) = operations.rows(incidents, kind="parity_failed")
    assert (incident["object"], incident["state"]) == ("recommender_customer", "open")
    assert "9" not in incident["title"] + incident["body"].replace("91d", "")
    assert materialize_features(day)["outcome"] == "written"  # clearing the task mends it
    (incident,) = operations.rows(incidents, kind="parity_failed")
    assert incident["state"] == "closed"
    assert marts.version.id != changed.version.id


@pytest.mark.parametrize(
    ("number", "as_of_date", "problem"),
    [
        (float("inf"), MONDAY, "repeat_share_91d is not finite in 1 rows"),
        (float("nan"), MONDAY, "repeat_share_91d is not finite in 1 rows"),
        (1.0, MONDAY + timedelta(days=1), r"feature_at is after the shop clock \(2017-11-20 05:00 UTC\) in 1 rows"),
    ],
)
def test_values_that_may_not_be_served_stop_the_day_with_nothing_written(
    settings: Settings, number: float, as_of_date: date, problem: str
) -> None:
    rows = mart_rows(settings, "feat_customer", [("always", MONDAY, 0.0), ("joined", as_of_date, 1.0)])
    share = pa.array([0.0, number])
    rows = rows.set_column(rows.schema.get_field_index("repeat_share_91d"), "repeat_share_91d", share)
    publish_feature_marts(settings, MONDAY - timedelta(days=1), {"feat_customer": rows})
    with pytest.raises(DataFailed, match=problem):
        materialize_features(MONDAY - timedelta(days=1))
    assert watermark(settings) is None
    assert read_online(settings, ["always"])["as_of_date"].tolist() == [None]


def test_rows_that_would_overwrite_each_other_are_refused(settings: Settings) -> None:
    twice = mart_rows(settings, "feat_customer", [("always", MONDAY, 0.0), ("always", MONDAY, 1.0)])
    with pytest.raises(DataFailed, match="customer_id and feature_at repeat in 1 rows"):
        check_rows(twice, ["amount_cents_28d"], settings.day_start(MONDAY))
    unnamed = twice.slice(0, 1).set_column(0, "customer_id", pa.array([None], pa.string()))
    with pytest.raises(DataFailed, match="customer_id or feature_at is null in 1 rows"):
        check_rows(unnamed, ["amount_cents_28d"], settings.day_start(MONDAY))
    with pytest.raises(DataFailed, match="feat_customer has no column amount_cents_28d"):
        check_rows(twice.drop_columns(["amount_cents_28d"]), ["amount_cents_28d"], settings.day_start(MONDAY))


def test_declarations_are_applied_once(settings: Settings) -> None:
    assert apply_if_changed(settings) is True
    registry = (features_dir(settings) / "registry.db").read_bytes()
    assert apply_if_changed(settings) is False
    assert (features_dir(settings) / "registry.db").read_bytes() == registry
    assert open_feature_store(settings, features_dir(settings)).project == "shopwright_completejourney"


@pytest.mark.parametrize("kept_bytes", [0, 100, None])
def test_a_registry_that_was_cut_off_or_removed_is_written_anew(settings: Settings, kept_bytes: int | None) -> None:
    day = MONDAY - timedelta(days=1)
    _publish(settings, MONDAY)
    materialize_features(day)
    registry = features_dir(settings) / "registry.db"
    body = registry.read_bytes()
    registry.unlink()
    if kept_bytes is not None:
        registry.write_bytes(body[:kept_bytes])
    again = materialize_features(day)
    assert (again["applied"], again["outcome"], again["parity_checked"]) == (True, "written", 2)


def test_a_removed_online_database_is_filled_again(settings: Settings) -> None:
    day = MONDAY - timedelta(days=1)
    _publish(settings, MONDAY)
    materialize_features(day)
    (features_dir(settings) / "online.db").unlink()
    assert materialize_features(day)["outcome"] == "written"
    assert _online(settings, MONDAY)["left"] == (MONDAY, 0.0)


def test_after_a_rollback_the_online_values_are_those_of_the_older_marts(settings: Settings) -> None:
    """`joined` appears on Thursday only, and every value is the day's: nothing of Thursday may be left."""
    wednesday, thursday = MONDAY + timedelta(days=2), MONDAY + timedelta(days=3)
    older = _publish(settings, wednesday)
    assert materialize(settings, _publish(settings, thursday)).outcome == "written"
    roll_back(settings, reason="wrong", by="ann")
    assert materialize(settings, open_marts(settings)).outcome == "written"
    assert watermark(settings).marts_version == older.version.id  # type: ignore[union-attr]
    assert _online(settings, thursday) == {"always": (wednesday, 2.0), "left": (wednesday, 2.0), "joined": (None, None)}
    assert parity(settings, older).differences == ()
    assert materialize(settings, open_marts(settings)).outcome == "unchanged"
