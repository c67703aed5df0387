"""Sends stored alerts: retried with backoff and jitter, and visible when it does not work."""

import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update

from ml.alerts.channel import Message, send
from ml.alerts.incidents import close_incident, open_incident, store_due_reminders
from ml.alerts.routing import Route, routes
from ml.settings import Settings, wall_clock
from ml.stores.operations import Operations, alerts, incidents

_JITTER = random.SystemRandom()
_TONES = {"warn": "warning", "unknown": "warning", "alert": "failure"}


@dataclass(frozen=True)
class DeliveryPolicy:
    """How hard to try.

    Attributes:
        rounds_per_call: Sends of one alert within one call: bridges a receiver's restart of a few seconds.
        max_rounds: Sends of one alert in all; then it is `failed`, and an incident of its own says so.
        first_wait_seconds: Wait after the first round of a call; doubles.
        first_pause_seconds: Wait between calls after the first one; doubles up to `longest_pause_seconds`.
        lease_seconds: How long a sender may hold an alert before another takes it for dead and sends it again.
    """

    rounds_per_call: int = 3
    max_rounds: int = 9
    first_wait_seconds: float = 1.0
    first_pause_seconds: float = 60.0
    longest_pause_seconds: float = 3600.0
    lease_seconds: float = 300.0


@dataclass
class _Call:
    """State of one call of `deliver`."""

    operations: Operations
    shop_id: str
    policy: DeliveryPolicy
    routes: tuple[Route, ...]
    sleep: Callable[[float], None]
    broken: set[str] = field(default_factory=set)


def deliver(
    operations: Operations,
    settings: Settings,
    *,
    policy: DeliveryPolicy | None = None,
    include_failed: bool = False,
    ignore_pause: bool = False,
    console: Callable[[str], object] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, int]:
    """Send what is pending and due; without a route, print it to the console.

    Each alert is sent at least once to each route, whatever dies in between; a route that took it is not tried again.

    Args:
        include_failed: Take up alerts again that were given up.
        ignore_pause: Send now what a pause would hold back.
        console: Writes one alert when no route is configured; stderr when None.

    Returns:
        Counts of alerts: `sent`, `unrouted` and `failed` in this call, `pending` after it, and `reminders` stored.
    """
    counts = {"sent": 0, "unrouted": 0, "failed": 0, "pending": 0, "reminders": store_due_reminders(operations)}
    if include_failed:
        _take_up_failed(operations)
    call = _Call(operations, settings.shop_id, policy or DeliveryPolicy(), routes(settings), sleep)
    for alert in _due(operations, ignore_pause):
        outcome = _deliver_one(call, alert) if call.routes else _print(call, alert, console or _to_stderr)
        if outcome:
            counts[outcome] += 1
    with operations.transaction() as connection:
        statement = select(func.count()).select_from(alerts).where(alerts.c.delivery == "pending")
        counts["pending"] = connection.execute(statement).scalar_one()
    return counts


def _due(operations: Operations, ignore_pause: bool) -> list[dict[str, Any]]:
    statement = (
        select(alerts, incidents.c.severity, incidents.c.kind)
        .join(incidents, incidents.c.id == alerts.c.incident_id)
        .where(alerts.c.delivery == "pending")
        .order_by(alerts.c.id)
    )
    if not ignore_pause:
        statement = statement.where(alerts.c.next_attempt_at <= wall_clock())
    with operations.transaction() as connection:
        return [dict(row._mapping) for row in connection.execute(statement)]


def _take_up_failed(operations: Operations) -> None:
    with operations.transaction() as connection:
        connection.execute(
            update(alerts)
            .where(alerts.c.delivery == "failed")
            .values(delivery="pending", attempts=0, next_attempt_at=wall_clock())
        )


def _deliver_one(call: _Call, alert: dict[str, Any]) -> str | None:
    """`sent`, `failed`, or None when it stays pending."""
    done: list[str] = list(alert["routes_done"])
    for round_number in range(call.policy.rounds_per_call):
        open_routes = [route for route in call.routes if route.name not in done]
        tried = [route for route in open_routes if route.name not in call.broken]
        if not tried or not _claim(call, alert):
            return None
        errors = _try_routes(call, alert, tried, done)
        if not errors and len(tried) == len(open_routes):
            _settle(call, alert, done, delivery="sent", sent_at=wall_clock(), last_error=None)
            return "sent"
        if alert["attempts"] >= call.policy.max_rounds:
            break
        _settle(call, alert, done, last_error="; ".join(errors) or None, next_attempt_at=_after_pause(call, alert))
        if not errors:
            return None
        if round_number + 1 < call.policy.rounds_per_call:
            call.sleep(call.policy.first_wait_seconds * 2**round_number * _JITTER.uniform(0.5, 1.5))
    call.broken |= {route.name for route in tried if route.name not in done}
    if alert["attempts"] < call.policy.max_rounds:
        return None
    _settle(call, alert, done, delivery="failed", last_error="; ".join(errors))
    _report_undelivered(call, alert, [route for route in tried if route.name not in done])
    return "failed"


def _claim(call: _Call, alert: dict[str, Any]) -> bool:
    """Take an alert for this process; False when another one has it. `alert` keeps the new number of attempts."""
    lease: datetime = wall_clock() + timedelta(seconds=call.policy.lease_seconds)
    statement = (
        update(alerts)
        .where(
            alerts.c.id == alert["id"],
            alerts.c.delivery == "pending",
            alerts.c.attempts == alert["attempts"],
        )
        .values(attempts=alert["attempts"] + 1, next_attempt_at=lease)
    )
    with call.operations.transaction() as connection:
        is_ours = connection.execute(statement).rowcount == 1
    alert["attempts"] += is_ours
    return is_ours


def _try_routes(call: _Call, alert: dict[str, Any], tried: list[Route], done: list[str]) -> list[str]:
    message = _message(call.shop_id, alert)
    errors = []
    for route in tried:
        error = send(route, message)
        if error is None:
            done.append(route.name)
            _report_recovered(call, route)
        else:
            errors.append(f"{route.name}: {error}")
    return errors


def _settle(call: _Call, alert: dict[str, Any], done: list[str], **changes: Any) -> None:
    with call.operations.transaction() as connection:
        connection.execute(update(alerts).where(alerts.c.id == alert["id"]).values(routes_done=done, **changes))


def _after_pause(call: _Call, alert: dict[str, Any]) -> datetime:
    policy = call.policy
    calls_before = (alert["attempts"] - 1) // policy.rounds_per_call
    pause = min(policy.first_pause_seconds * 2**calls_before, policy.longest_pause_seconds)
    return wall_clock() + timedelta(seconds=pause * _JITTER.uniform(0.5, 1.5))


def _report_undelivered(call: _Call, alert: dict[str, Any], refused: list[Route]) -> None:
    """An incident for each route that does not work; not for the alert of such an incident, or it would never end."""
    if alert["kind"] == "delivery_failed":
        return
    for route in refused:
        open_incident(
            call.operations,
            kind="delivery_failed",
            object=route.name,
            rule="alerts_are_delivered",
            partition=wall_clock().date(),
            severity="alert",
            title=f"Alerts cannot be sent by route {route.name}",
            body=(
                f"Alert {alert['id']} was given up after {alert['attempts']} attempts. `shopwright alerts` shows the "
                "reason; correct SHOPWRIGHT_ALERT_URLS, then run `shopwright alerts deliver --failed`."
            ),
        )


def _report_recovered(call: _Call, route: Route) -> None:
    close_incident(
        call.operations,
        kind="delivery_failed",
        object=route.name,
        rule="alerts_are_delivered",
        partition=wall_clock().date(),
    )


def _message(shop_id: str, alert: dict[str, Any]) -> Message:
    tone = "success" if alert["purpose"] == "closed" else _TONES[alert["severity"]]
    word = "ok" if alert["purpose"] == "closed" else alert["severity"]
    reminder = " (reminder)" if alert["purpose"] == "reminder" else ""
    return Message(f"[{shop_id}] {word}{reminder}: {alert['title']}", alert["body"], tone)


def _print(call: _Call, alert: dict[str, Any], console: Callable[[str], object]) -> str | None:
    statement = update(alerts).where(alerts.c.id == alert["id"], alerts.c.delivery == "pending")
    with call.operations.transaction() as connection:
        if connection.execute(statement.values(delivery="unrouted")).rowcount != 1:
            return None
    message = _message(call.shop_id, alert)
    console(f"{message.title}\n{message.body}\n")
    return "unrouted"


def _to_stderr(text: str) -> None:
    sys.stderr.write(text)
