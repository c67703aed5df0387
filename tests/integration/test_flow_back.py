"""What is posted while the shop is open reaches raw with the days that land, late or not, and the marts once."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from ml.cli.ingest import gate_arrivals, land_days
from ml.fraud.events import LABEL_SOURCES
from ml.lineage import impact
from ml.serving.event_service import EventService
from ml.settings import PREFIX, Settings, get_settings
from ml.shop.generated import small_shop
from ml.stores.dbt_run import build_scratch
from ml.stores.group_commit import GroupCommitter
from ml.stores.raw import RawStore
from ml.stores.serving_log import Entry, ServingLog

FIRST = date(2024, 1, 1)
HISTORY_END = FIRST + timedelta(days=13)
DAY, NEXT = HISTORY_END + timedelta(days=1), HISTORY_END + timedelta(days=2)
BUYER, SHOWN, BOUGHT = "c0001", "p0001", "p0002"


def at(hour: int, day: date = DAY) -> str:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC).isoformat()


def seen(key: str, kind: str, hour: int, product: str = SHOWN, day: date = DAY) -> dict[str, Any]:
    event = {"type": kind, "interaction_id": key, "customer_id": BUYER, "product_id": product, "exposure_id": "e1"}
    return event | {"occurred_at": at(hour, day)}


def order(key: str, day: date = DAY) -> dict[str, Any]:
    line = {"order_line_id": f"{key}-1", "product_id": BOUGHT, "quantity": 1, "amount_cents": 500}
    event = {"type": "order", "order_id": key, "customer_id": BUYER, "ordered_at": at(18, day), "currency": "USD"}
    return event | {"total_amount_cents": 500, "lines": [line]}


def exposure() -> Entry:
    body = {
        "exposure_id": "e1",
        "customer_id": BUYER,
        "shown_at": at(17),
        "placement": "home",
        "step": "personal",
        "model_version": "m1",
        "policy_version": "explore-0.02",
        "is_explored": False,
        "items": [
            {"rank": rank, "product_id": product, "propensity": 0.98}
            for rank, product in enumerate((SHOWN, BOUGHT, "p0003"), 1)
        ],
    }
    return Entry("exposure", "e1", json.dumps(body), "d" * 64, datetime.fromisoformat(at(17)))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("shop")
    small_shop(folder / "shop", FIRST, 16)
    values = {
        "SOURCE": "files",
        "SHOP_ID": "tiny",
        "FILES_DIR": folder / "shop",
        "STATE_DIR": folder / "var",
        "FIRST_DAY": FIRST,
        "BOOTSTRAP_DAY": HISTORY_END,
        "LAST_DAY": "",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(f"{PREFIX}{name}", str(value))
        patch.setattr(impact, "affected_by", lambda _settings, table, columns: [f"{table}.{columns[0]}"])
        get_settings.cache_clear()
        yield get_settings()
    get_settings.cache_clear()


def post(settings: Settings, *events: dict[str, Any]) -> None:
    log = ServingLog.from_settings(settings)
    committer = GroupCommitter(log)
    taken = asyncio.run(EventService(settings, log, committer).take(events, "till", None, "r"))
    committer.close()
    assert (taken.refused, taken.conflicts) == ((), ())


def land(first: date, last: date) -> dict[str, Any]:
    landed = land_days(first, last)
    verdicts = gate_arrivals(last)["tables"]
    assert {entry["status"] for entry in verdicts.values()} == {"passed"}, verdicts
    return landed


@pytest.fixture(scope="module")
def landed(settings: Settings) -> list[dict[str, Any]]:
    """The history; a day with posts; and a day after, before which late ones came."""
    told = [land(FIRST, HISTORY_END)]
    ServingLog.from_settings(settings).append([exposure()])
    payment = {"type": "payment", "payment_id": "pay1", "order_id": "posted", "customer_id": BUYER, "currency": "USD"}
    payment |= {"attempted_at": at(18), "amount_cents": 500, "outcome": "approved"}
    consent = {"type": "consent", "customer_id": BUYER, "purpose": "profiling", "is_granted": True, "changed_at": at(9)}
    post(settings, seen("i1", "view", 16), seen("i2", "click", 18), order("posted"), payment, consent)
    told.append(land(DAY, DAY))
    label = {"type": "label", "order_id": "posted", "is_fraud": True, "known_at": at(20)}
    post(settings, *(label | {"label_id": source, "label_source": source} for source in LABEL_SOURCES))
    post(settings, seen("i3", "purchase", 19, "p0003"), order("late"), seen("i4", "view", 15, day=NEXT))
    told.append(land(NEXT, NEXT))
    return told


def raw_keys(settings: Settings, table: str, key: str) -> list[str]:
    raw = RawStore(settings).versions
    version = raw.current()
    assert version is not None
    return [
        row[key]
        for part in version.parts_of(table)
        for row in pq.read_table(raw.open_part(part), columns=[key]).to_pylist()
    ]


def test_what_was_posted_is_in_raw(settings: Settings, landed: list[dict[str, Any]]) -> None:
    assert set(raw_keys(settings, "interactions", "interaction_id")) == {"i1", "i2", "i3", "i4"}
    assert {"posted", "late"} <= set(raw_keys(settings, "orders", "order_id"))
    assert {"posted-1", "late-1"} <= set(raw_keys(settings, "order_lines", "order_line_id"))
    assert set(raw_keys(settings, "payments", "payment_id")) == {"pay1"}
    assert set(raw_keys(settings, "consents", "purpose")) == {"profiling"}
    assert raw_keys(settings, "exposures", "product_id")[:3] == [SHOWN, BOUGHT, "p0003"]
    sources = {table: entry["source"] for table, entry in landed[1].items()}
    assert (sources["orders"], sources["exposures"], sources["fraud_decisions"]) == (
        "files",
        "shopwright",
        "shopwright",
    )
    assert "exposures" not in landed[0]


def test_landing_the_days_again_changes_nothing(settings: Settings, landed: list[dict[str, Any]]) -> None:
    for day, before in ((DAY, landed[1]), (NEXT, landed[2])):
        again = land_days(day, day)
        assert {table: entry["batch_id"] for table, entry in again.items() if table == "exposures"} == {
            "exposures": before["exposures"]["batch_id"]
        }
    assert land_days(NEXT, NEXT) == landed[2]


def test_the_marts_have_it_once_and_tell_what_followed(settings: Settings, landed: list[dict[str, Any]]) -> None:
    version = RawStore(settings).versions.current()
    assert version is not None
    database = build_scratch(settings, version.id, NEXT).database
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        shown = connection.execute(
            "select rank, product_id, is_clicked, is_bought, bought_at from core.fct_exposures order by rank"
        ).fetchall()
        orders = connection.execute(
            "select order_id, amount_cents from core.fct_orders where order_id in ('posted', 'late') order by order_id"
        ).fetchall()
        paid = connection.execute("select order_id, first_outcome from core.fct_order_payments").fetchall()
        labels = connection.execute(
            "select label_source, label_id, order_id, is_fraud from core.fct_fraud_labels order by 1"
        ).fetchall()
    assert [row[:4] for row in shown] == [
        (1, SHOWN, True, False),
        (2, BOUGHT, False, True),
        (3, "p0003", False, True),
    ]
    assert shown[1][4] == datetime(DAY.year, DAY.month, DAY.day, 18, tzinfo=UTC)
    assert orders == [("late", 500), ("posted", 500)]
    assert paid == [("posted", "approved")]
    assert labels == [(source, f"{source}:{source}", "posted", True) for source in ("chargeback", "refund", "review")]
