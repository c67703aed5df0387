"""Sending is retried, bounded, visible, and never twice to a route that took the alert."""

from datetime import UTC, date, datetime, timedelta

import pytest

from ml.alerts import incidents as incidents_module
from ml.alerts import notify as module
from ml.alerts.incidents import close_incident, open_incident
from ml.alerts.notify import DeliveryPolicy, deliver
from ml.stores.operations import Operations, alerts, incidents

ONE_ROUTE = '["json://hook.test/1"]'
TWO_ROUTES = '["json://hook.test/1", "mailto://hook.test"]'
DAY = date(2017, 11, 20)


class Clock:
    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 5, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment


class Receivers:
    """Answers in place of Apprise; a route whose name is in `down` takes nothing."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.taken: list[tuple[str, str]] = []
        self.asked = 0

    def __call__(self, route, message) -> str | None:
        self.asked += 1
        if route.name in self.down:
            return "the receiver answered HTTP 503"
        self.taken.append((route.name, message.title))
        return None


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "wall_clock", clock)
    monkeypatch.setattr(incidents_module, "wall_clock", clock)
    return clock


@pytest.fixture
def receivers(monkeypatch) -> Receivers:
    receivers = Receivers()
    monkeypatch.setattr(module, "send", receivers)
    return receivers


@pytest.fixture
def run(configure, clock, receivers):
    """Runs `deliver` with the given routes; waits within a call do not take time."""

    def run(urls: str = ONE_ROUTE, **options: object) -> dict[str, int]:
        settings = configure(alert_urls=urls)
        return deliver(Operations.from_settings(settings), settings, sleep=lambda _seconds: None, **options)

    return run


@pytest.fixture
def operations(configure, clock) -> Operations:
    operations = Operations.from_settings(configure())
    tell(operations, "quantity_positive")
    return operations


def tell(operations: Operations, rule: str, kind: str = "gate_failed") -> None:
    open_incident(
        operations,
        kind=kind,
        object="order_lines",
        rule=rule,
        partition=DAY,
        severity="alert",
        title=f"{rule} failed",
        body="12 rows",
    )


def test_without_a_route_an_alert_is_printed_once_and_kept_as_unrouted(operations, run):
    printed: list[str] = []
    assert run("[]", console=printed.append)["unrouted"] == 1
    assert run("[]", console=printed.append)["unrouted"] == 0
    assert printed == ["[completejourney] alert: quantity_positive failed\n12 rows\n"]
    assert operations.rows(alerts)[0]["delivery"] == "unrouted"


def test_an_alert_goes_once_to_each_route(operations, run, receivers, clock):
    assert run(TWO_ROUTES) == {"sent": 1, "unrouted": 0, "failed": 0, "pending": 0, "reminders": 0}
    assert run(TWO_ROUTES)["sent"] == 0
    title = "[completejourney] alert: quantity_positive failed"
    assert receivers.taken == [("1-json", title), ("2-mailto", title)]
    (alert,) = operations.rows(alerts)
    assert (alert["delivery"], alert["attempts"], alert["sent_at"]) == ("sent", 1, clock.moment)


def test_a_route_that_took_it_is_not_tried_again_for_one_that_did_not(operations, run, receivers, clock):
    receivers.down = {"2-mailto"}
    assert run(TWO_ROUTES)["pending"] == 1
    assert [name for name, _ in receivers.taken] == ["1-json"]
    (alert,) = operations.rows(alerts)
    assert (alert["attempts"], alert["last_error"]) == (3, "2-mailto: the receiver answered HTTP 503")
    receivers.down = set()
    clock.moment += timedelta(hours=2)
    assert run(TWO_ROUTES)["sent"] == 1
    assert [name for name, _ in receivers.taken] == ["1-json", "2-mailto"]


def test_the_pause_holds_an_alert_back_unless_told_otherwise(operations, run, receivers, clock):
    receivers.down = {"1-json"}
    run()
    asked = receivers.asked
    receivers.down = set()
    clock.moment += timedelta(seconds=29)  # 60 s, with a jitter of at least one half
    assert (run()["pending"], receivers.asked) == (1, asked)
    assert run(ignore_pause=True)["sent"] == 1


def test_waits_grow_and_differ(operations, configure, clock, receivers):
    receivers.down = {"1-json"}
    waits: list[float] = []
    settings = configure(alert_urls=ONE_ROUTE)
    deliver(operations, settings, policy=DeliveryPolicy(rounds_per_call=4), sleep=waits.append)
    assert len(waits) == 3
    assert all(base * 0.5 <= wait <= base * 1.5 for base, wait in zip((1.0, 2.0, 4.0), waits, strict=True))


def test_after_the_last_attempt_it_is_failed_and_an_incident_says_so_without_end(operations, run, receivers, clock):
    receivers.down = {"1-json"}
    for _call in range(12):
        run(ignore_pause=True)
    assert [row["delivery"] for row in operations.rows(alerts)] == ["failed", "failed"]
    opened = operations.rows(incidents, state="open", kind="delivery_failed")
    assert [(row["object"], row["rule"]) for row in opened] == [("1-json", "alerts_are_delivered")]
    assert [row["attempts"] for row in operations.rows(alerts)] == [9, 9]


def test_an_alert_of_a_broken_route_that_cannot_be_sent_opens_nothing(configure, clock, run, receivers):
    operations = Operations.from_settings(configure())
    tell(operations, "alerts_are_delivered", kind="delivery_failed")
    receivers.down = {"1-json"}
    assert run(policy=DeliveryPolicy(max_rounds=3))["failed"] == 1
    assert [row["object"] for row in operations.rows(incidents)] == ["order_lines"]


def test_a_broken_route_is_not_asked_again_for_each_alert_of_a_call(operations, run, receivers):
    for number in range(5):
        tell(operations, f"rule_{number}")
    receivers.down = {"1-json"}
    assert run()["pending"] == 6
    assert receivers.asked == 3
    assert [row["attempts"] for row in operations.rows(alerts)] == [3, 0, 0, 0, 0, 0]


def test_what_was_given_up_can_be_taken_up_and_the_incident_closes(operations, run, receivers, clock):
    receivers.down = {"1-json"}
    run(policy=DeliveryPolicy(max_rounds=3))
    assert operations.rows(alerts)[0]["delivery"] == "failed"
    receivers.down = set()
    assert run(include_failed=True)["sent"] == 2
    assert operations.rows(incidents, kind="delivery_failed")[0]["state"] == "closed"


def test_a_recovery_and_a_reminder_say_what_they_are(operations, run, receivers, clock):
    run()
    clock.moment += timedelta(days=1)
    assert run()["reminders"] == 1
    close_incident(operations, kind="gate_failed", object="order_lines", rule="quantity_positive", partition=DAY)
    run()
    assert [title for _, title in receivers.taken] == [
        "[completejourney] alert: quantity_positive failed",
        "[completejourney] alert (reminder): quantity_positive failed",
        "[completejourney] ok: Recovered: quantity_positive failed",
    ]


def test_a_sender_that_died_holds_an_alert_only_for_its_lease(operations, run, receivers, clock, monkeypatch):
    def die(_route, _message):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "send", die)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.setattr(module, "send", receivers)
    assert run()["sent"] == 0
    clock.moment += timedelta(seconds=301)
    assert run()["sent"] == 1
