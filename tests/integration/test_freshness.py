"""Freshness with nothing else running: no Airflow, no MLflow; a process of its own looks at the disk and alerts."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from ml.cli.features import features
from ml.cli.freshness import freshness as freshness_command
from ml.cli.monitoring import write_status
from ml.cli.recommender import recommend
from ml.cli.recommender.shown import Shown
from ml.embedded.layout import Layout, Ports
from ml.embedded.stack import shopwright_arguments
from ml.embedded.summary import summary_lines
from ml.monitoring import freshness_watch, staleness
from ml.monitoring.freshness_watch import FreshnessWatch
from ml.monitoring.staleness import judge_shop, stale_marks
from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings, wall_clock
from ml.shop.contract import CONTRACT, REQUIRED_TABLES
from ml.shop.delivery import Delivery
from ml.stores.landing import Landing
from ml.stores.operations import Operations, alerts, incidents
from ml.stores.versions import VersionStore


@pytest.fixture
def settings(configure: Callable[..., Settings]) -> Settings:
    return configure(
        shop_id="live", timezone="UTC", first_day="2026-11-01", bootstrap_day="2026-11-10", last_day="none"
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Sets the wall clock that judges arrivals to a day of November 2026 and an hour."""

    def turn(day: int, hour: int) -> None:
        moment = datetime(2026, 11, day, hour, tzinfo=wall_clock().tzinfo)
        for module in (staleness, freshness_watch):
            monkeypatch.setattr(module, "wall_clock", lambda: moment)

    return turn


def land(settings: Settings, day: int | date, *tables: str) -> None:
    last = date(2026, 11, day) if isinstance(day, int) else day
    for table in tables or REQUIRED_TABLES:
        delivery = Delivery(table, CONTRACT[table].schema.empty_table(), "typed")
        Landing(settings.shop_dir / "landing").land(delivery, last, last, "files")


def publish(settings: Settings, day: int) -> None:
    target = date(2026, 11, day)
    for store, lineage in (
        ("warehouse/marts", {"target_day": target.isoformat()}),
        ("recommendations", {"as_of_date": (target + timedelta(days=1)).isoformat(), "model_version": "m1"}),
    ):
        versions = VersionStore(settings.shop_dir / store)
        current = versions.current()
        versions.publish([], lineage, current.id if current else None)
    features = settings.shop_dir / "features"
    features.mkdir(exist_ok=True)
    held = {"day": target.isoformat(), "marts_version": "v1", "inputs": ""}
    (features / "watermark.json").write_text(json.dumps(held))


def look(settings: Settings, **options: object) -> list[tuple[str, str, str]]:
    """One look; the open incidents after it."""
    operations = Operations.from_settings(settings)
    FreshnessWatch(settings, operations, lambda _text: None, **options).look()
    return sorted((row["object"], row["rule"], row["severity"]) for row in operations.rows(incidents, state="open"))


def test_a_missed_arrival_is_told_once_and_closed_when_it_arrives(settings, clock):
    land(settings, 14)
    publish(settings, 14)
    clock(16, 5)
    assert look(settings) == []
    clock(16, 7)
    late = [("order_lines", "is_fresh", "alert"), ("orders", "is_fresh", "alert")]
    assert look(settings) == look(settings) == late
    clock(17, 7)  # marts are late by now too, because the orders are
    assert look(settings) == late
    operations = Operations.from_settings(settings)
    opened = [row for row in operations.rows(alerts) if row["purpose"] == "opened"]
    assert len(opened) == 2
    assert "newest day is 2026-11-14; it should be 2026-11-15 or later" in opened[0]["body"]
    land(settings, 16)
    publish(settings, 16)
    assert look(settings) == []
    assert [row["purpose"] for row in operations.rows(alerts)].count("closed") == 2


def test_data_that_came_and_was_not_published_is_told_for_the_first_of_the_chain(settings, clock):
    land(settings, 15)
    publish(settings, 14)
    clock(16, 8)
    assert look(settings) == []
    clock(16, 9)
    assert look(settings) == [("marts", "is_fresh", "alert")]
    publish(settings, 15)
    assert look(settings) == []


def test_an_unreadable_manifest_is_unknown_and_never_ok(settings, clock):
    land(settings, 15)
    clock(16, 7)
    (manifest,) = (settings.shop_dir / "landing" / "orders").glob("*/manifest.json")
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[: len(whole) // 2])
    assert look(settings) == [("orders", "age_is_known", "unknown")]
    with pytest.raises(ToolFailed, match="nobody knows how old: orders"):
        CliRunner().invoke(freshness_command, catch_exceptions=False)
    manifest.write_bytes(whole)
    assert look(settings) == []


def test_a_new_shop_is_given_time_for_its_history(settings, clock):
    clock(16, 7)
    assert look(settings, patience=timedelta(hours=2)) == []
    assert {verdict.state for verdict in judge_shop(settings)} == {"unknown"}
    never = [(table, "age_is_known", "unknown") for table in sorted(REQUIRED_TABLES)]
    assert look(settings) == never, "who asks by hand or by cron is told at once"
    land(settings, 15)
    assert look(settings) == []


def test_what_was_told_before_anything_landed_is_taken_back_by_a_past_day(configure, clock):
    settings = configure(shop_id="past", first_day="2017-11-01", bootstrap_day="2017-11-05", last_day="2017-11-14")
    clock(16, 7)
    assert len(look(settings)) == len(REQUIRED_TABLES)
    land(settings, date(2017, 11, 5))
    assert look(settings) == []


def test_a_replayed_shop_expects_nothing_of_the_clock(configure, clock):
    settings = configure(
        shop_id="past", timezone="UTC", first_day="2026-11-01", bootstrap_day="2026-11-05", last_day="2026-11-14"
    )
    clock(16, 7)
    land(settings, 5)
    publish(settings, 5)
    assert look(settings) == []
    assert {verdict.state for verdict in judge_shop(settings)} == {"ok"}
    land(settings, 7, "customers", "products")
    assert look(settings) == [("order_lines", "is_fresh", "alert"), ("orders", "is_fresh", "alert")]
    land(settings, 7)
    assert look(settings) == [("marts", "is_fresh", "alert")]
    assert stale_marks(settings)[0] == "stale: marts are of 2026-11-05, 1 day older than allowed"


def test_days_that_land_together_may_be_built_one_after_another(configure, clock, monkeypatch):
    settings = configure(
        shop_id="past", timezone="UTC", first_day="2026-11-01", bootstrap_day="2026-11-05", last_day="2026-11-14"
    )
    land(settings, 9)
    publish(settings, 5)
    operations = Operations.from_settings(settings)
    clock(16, 7)
    watch = FreshnessWatch(settings, operations, lambda _text: None, late_patience=timedelta(minutes=30))
    watch.look()
    assert stale_marks(settings), "marked at once"
    assert operations.rows(incidents) == []
    publish(settings, 9)
    watch.look()
    clock(16, 8)
    publish(settings, 5)
    watch.look()
    assert operations.rows(incidents) == [], "it was in time in between"
    clock(16, 9)
    watch.look()
    assert [row["object"] for row in operations.rows(incidents)] == ["marts"]
    land(settings, 14, "customers")  # the other tables of the day come in a moment
    watch.look()
    assert [row["object"] for row in operations.rows(incidents)] == ["marts"]


def test_a_live_table_that_missed_its_time_is_told_at_once(settings, clock):
    land(settings, 14)
    clock(16, 6)
    late = [("order_lines", "is_fresh", "alert"), ("orders", "is_fresh", "alert")]
    assert look(settings, patience=timedelta(hours=2), late_patience=timedelta(minutes=30)) == late


def test_recommendations_are_printed_with_their_mark(settings, clock, monkeypatch):
    land(settings, 15)
    publish(settings, 12)
    clock(16, 12)
    row = {"rank": 1, "product_id": "p1", "name": "milk", "reason": "popular", "source": "popular", "score": 1.0}
    for is_known, named in ((True, "recommendations"), (False, "marts")):
        monkeypatch.setattr(
            "ml.cli.recommender.shown.shown_to", lambda *_args, known=is_known: Shown(known, "2026-11-13", "m1", [row])
        )
        shown = CliRunner().invoke(recommend, ["c1"], catch_exceptions=False)
        assert f"stale: {named} are of 2026-11-12, 3 days older than allowed" in shown.output
        assert shown.output.count("stale") == 1


def test_features_are_listed_with_their_mark(settings, clock, monkeypatch):
    land(settings, 15)
    publish(settings, 12)
    clock(16, 12)
    nothing_declared = SimpleNamespace(list_feature_services=list)
    monkeypatch.setattr("ml.stores.feast_repo.open_feature_store", lambda *_args: nothing_declared)
    shown = CliRunner().invoke(features, catch_exceptions=False)
    assert "online values reach 2026-11-12" in shown.output
    assert "stale: features are of 2026-11-12, 3 days older than allowed" in shown.output


def test_the_summary_of_up_has_the_marks(settings, clock):
    land(settings, 15)
    publish(settings, 12)
    clock(16, 12)
    layout = Layout(settings.shop_dir)
    stack = SimpleNamespace(settings=settings, layout=layout, ports=Ports(airflow=1, mlflow=2))
    lines = list(summary_lines(stack, Operations.from_settings(settings), [], stays=True))
    assert [line.split(" are")[0].strip() for line in lines if "stale:" in line] == [
        "stale: marts",
        "stale: features",
        "stale: recommendations",
    ]


def test_what_is_stale_is_marked_wherever_it_is_shown(settings, clock):
    land(settings, 15)
    publish(settings, 12)
    clock(16, 12)
    marks = [
        f"stale: {name} are of 2026-11-12, 3 days older than allowed"
        for name in ("marts", "features", "recommendations")
    ]
    assert stale_marks(settings) == marks
    page = Path(write_status(settings)).read_text()
    assert all(f"<p>{mark}</p>" in page for mark in marks)
    publish(settings, 15)
    assert stale_marks(settings) == []
    assert "stale" not in Path(write_status(settings)).read_text().lower()


def test_the_command_shows_states_and_ends_accordingly(settings, clock):
    land(settings, 14)
    publish(settings, 14)
    clock(16, 7)
    shown = CliRunner().invoke(freshness_command)
    assert isinstance(shown.exception, DataFailed)
    assert "older than allowed: orders, order_lines" in str(shown.exception)
    lines = {line.split()[1]: line.split()[0] for line in shown.output.splitlines()[2:]}
    assert lines == {
        **dict.fromkeys(("customers", "products", "marts", "features", "recommendations"), "ok"),
        **dict.fromkeys(("orders", "order_lines"), "missed"),
    }
    assert Operations.from_settings(settings).rows(incidents) == [], "showing tells nobody"
    CliRunner().invoke(freshness_command, ["--alert"])
    assert len(Operations.from_settings(settings).rows(incidents, state="open")) == 2


@pytest.fixture
def receiver() -> Iterator[tuple[int, list[dict[str, str]]]]:
    received: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port, received
    server.shutdown()
    thread.join()
    server.server_close()


def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert condition()


def test_the_process_alerts_while_nothing_else_runs(settings, receiver):
    """No scheduler, no server: data of the day before yesterday, by the real clock, and one alert per table arrives."""
    port, received = receiver
    today = wall_clock().date()
    land(settings, today - timedelta(days=1), "customers", "products", "order_lines")
    land(settings, today - timedelta(days=3), "orders")
    environment = {
        **os.environ,
        "SHOPWRIGHT_BOOTSTRAP_DAY": "2026-11-10",
        "SHOPWRIGHT_ALERT_URLS": f'["json://127.0.0.1:{port}/hook"]',
    }
    process = subprocess.Popen(shopwright_arguments("freshness", "--watch"), env=environment)
    try:
        operations = Operations.from_settings(settings)
        until(lambda: [row["delivery"] for row in operations.rows(alerts)] == ["sent"])
        assert process.poll() is None, "it goes on"
    finally:
        process.terminate()
        process.wait(30)
    assert [message["title"] for message in received] == [
        f"[live] alert: orders is older than allowed: {today - timedelta(days=3)}"
    ]
    assert [(row["purpose"], row["delivery"]) for row in operations.rows(alerts)] == [("opened", "sent")]
