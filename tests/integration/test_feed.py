"""Landed payments and labels reach the state of fraud features through the log, once, and never flow back."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from ml.cli.fraud import feed as feeding
from ml.cli.fraud import fraud
from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores.serving_log import ServingLog
from tests.fraud_serving import NOON

FIRST, SECOND = date(2024, 3, 10), date(2024, 3, 11)


@dataclass
class Marts:
    """Published marts of a few payments and one label."""

    orders: list[tuple[str, datetime]]
    target_day: date = FIRST

    @property
    def version(self) -> Any:
        return SimpleNamespace(id="marts-1", parts_of=lambda _mart: [SimpleNamespace(rows=len(self.orders))])

    def connect(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect()
        texts = (
            "customer_id, instrument_hash, device_hash, ip_hash, ip_country, shipping_address_hash, "
            "billing_address_hash, email_domain, channel, terminal_id"
        )
        columns = ", ".join(f"null::varchar as {name}" for name in texts.split(", "))
        rows = ", ".join(f"('{order}', timestamptz '{at.isoformat()}')" for order, at in self.orders)
        connection.execute(
            f"create table fct_order_payments as select order_id, attempted_at, {columns}, "  # noqa: S608 - a test's rows
            "null::timestamptz as account_created_at, 100 as amount_cents, 'USD' as currency, "
            f"'approved' as first_outcome from (values {rows}) as orders (order_id, attempted_at)"
        )
        connection.execute(
            "create table fct_fraud_labels as select 'l1' as label_id, 'o1' as order_id, true as is_fraud, "
            f"timestamptz '{(NOON + timedelta(hours=1)).isoformat()}' as known_at, 'chargeback' as label_source"
        )
        return connection


@pytest.fixture
def marts(monkeypatch: pytest.MonkeyPatch) -> Marts:
    made = Marts([("o1", NOON), ("o2", NOON + timedelta(minutes=1))])
    monkeypatch.setattr("ml.stores.warehouse.open_marts", lambda _settings: made)
    return made


@pytest.fixture
def settings(configure: Callable[..., Settings]) -> Settings:
    days = {"first_day": "2024-01-01", "bootstrap_day": "2024-03-01", "last_day": "2024-03-31"}
    return configure(shop_id="smallshop", timezone="UTC", **days)


def kept(settings: Settings) -> list[tuple[str, str]]:
    return [(one.kind, one.key) for one in ServingLog.from_settings(settings).read_after(0, 100)]


def test_the_history_first_then_each_day_once(settings: Settings, marts: Marts) -> None:
    found = feeding.feed_state(FIRST)
    assert (found["taken"], found["known"], found["conflicts"]) == (3, 0, 0)
    assert kept(settings) == [("payment", "o1"), ("payment", "o2"), ("label", "l1")]
    marts.orders.append(("o3", NOON + timedelta(days=1)))
    marts.orders.append(("late", NOON - timedelta(days=1)))
    marts.orders.append(("too_late", NOON - timedelta(days=30)))
    marts.target_day = SECOND
    found = feeding.feed_state(SECOND)
    assert (found["taken"], found["known"]) == (2, 3)
    assert {key for _, key in kept(settings)} == {"o1", "o2", "o3", "late", "l1"}
    assert feeding.feed_state(SECOND)["taken"] == 0


def test_what_is_fed_never_flows_back(settings: Settings, marts: Marts) -> None:
    feeding.feed_state(FIRST)
    rows = ServingLog.from_settings(settings)._file.read("select distinct flows_back from entries")
    assert rows == [(0,)]


def test_what_differs_from_what_was_posted_is_counted_and_stays(settings: Settings, marts: Marts) -> None:
    feeding.feed_state(FIRST)
    marts.orders[0] = ("o1", NOON + timedelta(hours=2))
    found = feeding.feed_state(FIRST)
    assert (found["taken"], found["known"], found["conflicts"]) == (0, 2, 1)


def test_marts_of_another_day_are_refused(settings: Settings, marts: Marts) -> None:
    with pytest.raises(DataFailed, match="reach 2024-03-10"):
        feeding.feed_state(SECOND)


def test_a_shop_without_payments_is_skipped(settings: Settings, marts: Marts) -> None:
    marts.orders.clear()
    assert feeding.feed_state(FIRST)["skipped"]


def test_by_hand(settings: Settings, marts: Marts) -> None:
    assert CliRunner().invoke(fraud, ["feed"]).exit_code == 2
    told = CliRunner().invoke(fraud, ["feed", "--history"])
    assert told.exit_code == 0, told.output
    assert "taken: 3" in told.output
    assert "known: 3" in CliRunner().invoke(fraud, ["feed", "--day", "2024-03-10"]).output
