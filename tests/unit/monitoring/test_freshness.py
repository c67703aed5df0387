"""Objectives against clocks, by hand-worked days. 2026-11-16 is a Monday."""

from datetime import date, datetime, time, timedelta

import pytest

from ml.monitoring.freshness import Freshness, Objective, Reached, judge, objectives
from ml.settings import SettingsError

DAY = Objective(time(6), 1)
WEEK = Objective(time(6), 7)
WANTED = {"customers": WEEK, "orders": DAY}


def november(day: int) -> date:
    return date(2026, 11, day)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute)  # noqa: DTZ001 - local to the shop


def judged(
    landed: dict[str, int | None], published: dict[str, int | None] | None = None, now: datetime | None = None
) -> dict[str, Freshness]:
    reached = [
        {name: Reached(november(day) if day else None) for name, day in days.items()}
        for days in (landed, published or {})
    ]
    return {verdict.object: verdict for verdict in judge(WANTED, *reached, now)}


@pytest.mark.parametrize(
    ("objective", "now", "required"),
    [
        (DAY, at(16, 5, 59), 14),
        (DAY, at(16, 6, 0), 15),
        (DAY, at(16, 23, 59), 15),
        (WEEK, at(16, 5, 59), 8),
        (WEEK, at(16, 6, 0), 9),
        (Objective(None, 1), at(16, 23, 59), 14),
        (Objective(None, 1), at(17, 0, 0), 15),
        (Objective(time(23, 30), 2), at(16, 23, 30), 14),
    ],
)
def test_the_day_that_must_be_there(objective, now, required):
    assert objective.required_day(now) == november(required)


def test_the_contract_has_objectives_and_the_settings_replace_them():
    assert objectives({}) == {"customers": WEEK, "products": WEEK, "orders": DAY, "order_lines": DAY}
    changed = objectives(
        {
            "orders": "by 09:30, at most 2 days",
            "products": "never",
            "payments": "at most 3 days",
            "customers": "by 07:00",
        }
    )
    assert changed == {
        "customers": Objective(time(7), 1),
        "orders": Objective(time(9, 30), 2),
        "order_lines": DAY,
        "payments": Objective(None, 3),
    }
    assert {name: objectives({name: one.sentence()})[name] for name, one in changed.items()} == changed


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "by noon",
        "by 6:00",
        "by 25:00",
        "by 06:00 at most 1 day",
        "at most 0 days",
        ", at most 1 day",
        "by 06:00,",
        "1",
    ],
)
def test_a_sentence_that_cannot_be_read_is_refused(sentence):
    with pytest.raises(SettingsError, match=r"SHOPWRIGHT_FRESHNESS: orders: expected such as"):
        objectives({"orders": sentence})


def test_an_unknown_table_is_refused():
    with pytest.raises(SettingsError, match="no table ordres; tables are customers, products"):
        objectives({"ordres": "by 06:00"})


def test_a_live_shop_is_held_against_the_clock():
    before = judged({"customers": 9, "orders": 14}, now=at(16, 5, 59))
    assert {name: before[name].state for name in WANTED} == {"customers": "ok", "orders": "ok"}
    after = judged({"customers": 9, "orders": 14}, now=at(16, 6, 0))
    assert {name: after[name].state for name in WANTED} == {"customers": "ok", "orders": "missed"}
    assert (after["orders"].newest, after["orders"].required) == (november(14), november(15))
    assert judged({"customers": 8, "orders": 15}, now=at(16, 6, 0))["customers"].state == "missed"


def test_a_replayed_source_is_held_against_the_newest_landed_day():
    assert judged({"customers": 8, "orders": 15})["customers"].state == "ok"
    assert judged({"customers": 7, "orders": 15})["customers"].state == "missed"
    assert judged({"customers": 15, "orders": 14})["orders"].state == "ok"
    assert judged({"customers": 15, "orders": 13})["orders"].state == "missed"


def test_what_is_published_may_take_three_hours_after_its_data():
    landed = {"customers": 15, "orders": 15}
    published = {"marts": 15, "features": 14, "recommendations": 13}
    early = judged(landed, published, at(16, 8, 59))
    assert {name: early[name].state for name in published} == {
        "marts": "ok",
        "features": "ok",
        "recommendations": "missed",
    }
    late = judged(landed, published, at(16, 9, 0))
    assert {name: late[name].state for name in published} == {
        "marts": "ok",
        "features": "missed",
        "recommendations": "missed",
    }
    assert late["features"].mark() == "stale: features are of 2026-11-14, 1 day older than allowed"
    assert late["recommendations"].mark() == "stale: recommendations are of 2026-11-13, 2 days older than allowed"
    assert late["marts"].mark() is None


def test_what_a_replay_published_is_held_against_what_it_landed():
    verdicts = judged({"customers": 20, "orders": 15}, {"marts": 14, "features": 13, "recommendations": None})
    assert [verdicts[name].state for name in ("marts", "features", "recommendations")] == ["ok", "missed", "unknown"]


def test_unknown_is_never_ok():
    for now in (None, at(16, 7)):
        verdicts = judge(WANTED, {"orders": Reached(None, "manifest.json cannot be read")}, {}, now)
        assert {verdict.state for verdict in verdicts} == {"unknown"}
        told = {verdict.object: verdict for verdict in verdicts}
        assert told["customers"].is_absent
        assert not told["orders"].is_absent
        assert "not known" in str(told["orders"].mark())
    unheld = {verdict.object: verdict for verdict in judge(WANTED, {}, {"marts": Reached(november(1))}, None)}
    assert (unheld["marts"].state, unheld["marts"].why) == ("unknown", "nothing has landed to hold it against")


def test_a_shop_without_objectives_of_events_is_not_judged_on_what_it_publishes():
    verdicts = judge({"customers": WEEK}, {"customers": Reached(november(15))}, {}, at(15, 12) + timedelta(days=1))
    assert [verdict.object for verdict in verdicts] == ["customers"]
