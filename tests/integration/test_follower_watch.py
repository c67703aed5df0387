"""A follower that is dead or stands still is told of by another process, and taken back when it has caught up."""

import asyncio
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from ml.cli import freshness as freshness_command
from ml.cli.fraud import follower_watch
from ml.cli.fraud.events import follow_log, post_events
from ml.cli.fraud.follower_watch import TOO_LONG, FollowerWatch
from ml.settings import Settings, wall_clock
from ml.stores.operations import Operations, alerts, incidents
from ml.stores.serving_log import LogUnavailable, ServingLog
from tests.fraud_serving import of_shop, serving
from tests.posted_events import payment


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return of_shop(tmp_path)


def decide(settings: Settings, *numbers: int) -> None:
    async def told() -> None:
        async with serving(settings) as shop:
            for number in numbers:
                await shop.answer(number)

    asyncio.run(told())


def follow(settings: Settings) -> None:
    follow_log(settings, stops=threading.Event(), is_once=True)


def look(settings: Settings, monkeypatch: pytest.MonkeyPatch, after: timedelta) -> list[tuple[str, str]]:
    """Rule and severity of what is open after a look at a later moment."""
    operations = Operations.from_settings(settings)
    with monkeypatch.context() as patch:
        patch.setattr(follower_watch, "wall_clock", lambda: wall_clock() + after)
        FollowerWatch(settings, operations).look()
    return [(row["rule"], row["severity"]) for row in operations.rows(incidents, kind="follower_behind", state="open")]


def test_a_decision_that_waits_too_long_is_told_once_and_closed_when_it_is_settled(settings, monkeypatch):
    decide(settings, 1)
    follow(settings)
    decide(settings, 2)
    assert look(settings, monkeypatch, TOO_LONG - timedelta(minutes=1)) == []
    late = [("is_settled", "alert")]
    assert look(settings, monkeypatch, TOO_LONG + timedelta(seconds=1)) == late
    assert look(settings, monkeypatch, TOO_LONG + timedelta(minutes=1)) == late
    follow(settings)
    assert look(settings, monkeypatch, TOO_LONG + timedelta(minutes=2)) == []
    told = [row["purpose"] for row in Operations.from_settings(settings).rows(alerts)]
    assert told == ["opened", "closed"]


def test_a_follower_that_never_ran_is_behind(settings, monkeypatch):
    decide(settings, 1)
    assert look(settings, monkeypatch, timedelta(days=1)) == [("is_settled", "alert")]


def test_what_needs_no_settling_and_a_shop_without_a_log_are_not_waited_for(settings, monkeypatch):
    assert look(settings, monkeypatch, timedelta(days=1)) == []
    assert not (settings.shop_dir / "serving").exists()
    assert post_events(settings, [payment(1)], None).taken == 1
    assert look(settings, monkeypatch, timedelta(days=1)) == []


def test_a_log_that_cannot_be_read_is_unknown_and_never_ok(settings, monkeypatch):
    decide(settings, 1)

    def refuse(_self: ServingLog) -> str:
        raise LogUnavailable("the serving log cannot be read (OperationalError)")

    with monkeypatch.context() as patch:
        patch.setattr(ServingLog, "identity", refuse)
        assert look(settings, monkeypatch, timedelta(0)) == [("wait_is_known", "unknown")]
    assert look(settings, monkeypatch, timedelta(0)) == []


def test_it_is_looked_at_by_what_cron_runs(settings, monkeypatch):
    decide(settings, 1)
    monkeypatch.setattr(freshness_command, "get_settings", lambda: settings)
    monkeypatch.setattr(follower_watch, "wall_clock", lambda: wall_clock() + timedelta(days=1))
    CliRunner().invoke(freshness_command.freshness, ["--alert"])
    told = Operations.from_settings(settings).rows(alerts)
    assert "The follower of the serving log is behind" in [row["title"].split(": ")[-1] for row in told]
    assert {row["delivery"] for row in told} != {"pending"}
