"""An incident opens once, counts days, reminds daily and closes by a pass on the same or a later day."""

from datetime import UTC, date, datetime, timedelta

import pytest

from ml.alerts import incidents as module
from ml.alerts.incidents import close_incident, open_incident, store_due_reminders
from ml.stores.operations import Operations, alerts, incidents

KEY = {"kind": "gate_failed", "object": "order_lines", "rule": "quantity_positive"}
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.moment = NOON

    def __call__(self) -> datetime:
        return self.moment

    def pass_hours(self, hours: float) -> None:
        self.moment += timedelta(hours=hours)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "wall_clock", clock)
    return clock


@pytest.fixture
def operations(configure, clock) -> Operations:
    return Operations.from_settings(configure())


def fail(operations: Operations, day: int, severity: str = "warn", **changes: str) -> bool:
    told = {"title": "order_lines failed", "body": "12 rows", **KEY, **changes}
    return open_incident(operations, partition=date(2017, 11, day), severity=severity, **told)


def succeed(operations: Operations, day: int) -> bool:
    return close_incident(operations, partition=date(2017, 11, day), **KEY)


def purposes(operations: Operations) -> list[str]:
    return [row["purpose"] for row in operations.rows(alerts)]


def only(operations: Operations) -> dict:
    (row,) = operations.rows(incidents)
    return row


def test_the_first_failure_opens_and_stores_one_pending_alert(operations, clock):
    assert fail(operations, 20) is True
    assert only(operations)["state"] == "open"
    (alert,) = operations.rows(alerts)
    assert (alert["purpose"], alert["delivery"], alert["created_at"]) == ("opened", "pending", NOON)


def test_the_same_day_again_neither_counts_nor_alerts_even_two_days_later(operations, clock):
    fail(operations, 20)
    clock.pass_hours(48)
    assert fail(operations, 20) is False
    assert only(operations)["count"] == 1
    assert purposes(operations) == ["opened"]


def test_other_days_count_without_an_alert(operations, clock):
    fail(operations, 20)
    assert [fail(operations, day) for day in (21, 22, 21)] == [False, False, False]
    assert (only(operations)["count"], only(operations)["last_partition"]) == (3, "2017-11-22")
    assert purposes(operations) == ["opened"]


def test_a_reminder_is_due_after_a_day_of_the_wall_clock_and_once(operations, clock):
    fail(operations, 20)
    clock.pass_hours(23.9)
    assert fail(operations, 21) is False
    clock.pass_hours(0.1)
    assert fail(operations, 22) is True
    assert fail(operations, 23) is False
    assert purposes(operations) == ["opened", "reminder"]
    assert "seen on 3 shop days" in operations.rows(alerts)[-1]["body"]


def test_an_incident_whose_check_no_longer_runs_is_reminded_of_too(operations, clock):
    fail(operations, 20)
    assert store_due_reminders(operations) == 0
    clock.pass_hours(25)
    assert [store_due_reminders(operations), store_due_reminders(operations)] == [1, 0]
    clock.pass_hours(25)
    assert store_due_reminders(operations) == 1
    succeed(operations, 20)
    clock.pass_hours(25)
    assert store_due_reminders(operations) == 0


def test_a_worse_severity_alerts_at_once_and_a_milder_one_does_not(operations, clock):
    fail(operations, 20, "warn")
    assert fail(operations, 21, "alert") is True
    assert fail(operations, 22, "unknown") is False
    assert purposes(operations) == ["opened", "worsened"]


@pytest.mark.parametrize(("day", "closes"), [(20, False), (21, True), (25, True)])
def test_only_a_pass_on_the_same_or_a_later_day_closes(operations, clock, day, closes):
    fail(operations, 21)
    assert succeed(operations, day) is closes
    assert only(operations)["state"] == ("closed" if closes else "open")
    assert purposes(operations) == ["opened", "closed"] if closes else ["opened"]


def test_a_failure_of_an_older_day_does_not_make_the_incident_younger(operations, clock):
    fail(operations, 22)
    fail(operations, 20, title="older")
    assert (only(operations)["last_partition"], only(operations)["title"]) == ("2017-11-22", "order_lines failed")
    assert succeed(operations, 21) is False


def test_a_pass_without_an_incident_says_nothing(operations, clock):
    assert succeed(operations, 20) is False
    assert operations.rows(alerts) == []


def test_a_day_told_before_and_overtaken_by_a_pass_alerts_nobody_when_run_again(operations, clock):
    fail(operations, 20)
    succeed(operations, 21)
    assert fail(operations, 20) is False
    assert only(operations)["state"] == "closed"
    assert purposes(operations) == ["opened", "closed"]


def test_a_day_that_passed_and_then_breaks_again_is_a_new_incident(operations, clock):
    fail(operations, 20)
    succeed(operations, 20)
    assert fail(operations, 20) is True
    assert [row["state"] for row in operations.rows(incidents)] == ["closed", "open"]


@pytest.mark.parametrize("part", ["kind", "object", "rule"])
def test_each_part_of_the_key_makes_an_incident_of_its_own(operations, clock, part):
    fail(operations, 20)
    assert fail(operations, 20, **{part: "drift" if part == "kind" else "another"}) is True
    assert len(operations.rows(incidents, state="open")) == 2


def test_a_title_cannot_break_out_of_a_mail_header(operations, clock):
    fail(operations, 20, title="failed\r\nBcc: all@shop.test\x00 " + "x" * 500)
    title = only(operations)["title"]
    assert title.isprintable()
    assert len(title) == 200
