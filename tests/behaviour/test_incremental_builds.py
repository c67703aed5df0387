"""An incremental build leaves what a build from nothing leaves, to the byte, whatever a day brings."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pyarrow as pa
import pytest

from ml.outcomes import ToolFailed
from ml.settings import PROJECT_DIR, Settings, wall_clock
from ml.shop.contract import CONTRACT, RESERVED_COLUMNS
from ml.shop.files import FilesSource
from ml.shop.generated import small_shop
from ml.stores.dbt_run import DBT_PROJECT_DIR, DbtRun, build_scratch, scratch_path
from ml.stores.fingerprints import feature_fingerprints
from ml.stores.mart_parts import write_mart_parts
from ml.stores.raw import SET_ASIDE_SCHEMA, RawStore
from ml.stores.versions import Part, VersionStore
from tests.dbt_projects import copy_project
from tests.raw_shop import TABLES, accepted_batch, shop_settings
from tests.shop_payments import labels_of, payments_of

FIRST_DAY = date(2024, 1, 1)
DAY = FIRST_DAY + timedelta(days=21)
DAY_BEFORE = DAY - timedelta(days=1)
FIRST_CHANGED = FIRST_DAY + timedelta(days=9)
LATE_PRODUCT, FLIPPED_PRODUCT, LATE_CUSTOMER = "p0001", "p0002", "c0003"
BOT = "c0004"
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Built:
    kind: str
    parts: dict[tuple[str, str], str]
    fingerprints: dict[str, str]


def history_of(settings: Settings) -> dict[str, Rows]:
    """The shop's days but the last; who and what arrives late or changes later is bought late only."""
    source = FilesSource(settings)
    history = {table: source.read(table, FIRST_DAY, DAY).rows.to_pylist() for table in TABLES}
    early = datetime.fromisoformat(f"{FIRST_CHANGED + timedelta(days=4)}T00:00:00+00:00")
    dropped = {
        row["order_id"]
        for row in history["orders"]
        if row["customer_id"] in (LATE_CUSTOMER, BOT) and row["ordered_at"] < early
    }
    history["orders"] = [row for row in history["orders"] if row["order_id"] not in dropped]
    history["order_lines"] = [
        row
        for row in history["order_lines"]
        if row["order_id"] not in dropped
        and not (row["product_id"] in (LATE_PRODUCT, FLIPPED_PRODUCT) and row["ordered_at"] < early)
    ]
    return history


def append(settings: Settings, tables: dict[str, Rows], first: date, last: date, set_aside: dict[str, int]) -> None:
    """Publish rows as one batch a table, with lines that were set aside (1) or came back (-1) per order."""
    batches = []
    for table, rows in tables.items():
        reserved = [pa.field(column.name, column.type.arrow) for column in RESERVED_COLUMNS]
        typed = pa.Table.from_pylist(rows, schema=pa.schema([*CONTRACT[table].schema, *reserved]))
        batch = accepted_batch(settings, table, typed, first, last)
        if table == "order_lines" and set_aside:
            lines = [
                {"order_id": order, "rule": "r", "_batch_id": batch.batch_id, "_batch_date": last, "lines": count}
                for order, count in set_aside.items()
            ]
            batch = replace(batch, set_aside_lines=pa.Table.from_pylist(lines, schema=SET_ASIDE_SCHEMA))
        batches.append(batch)
    RawStore(settings).append(batches)


def lines_of(history: dict[str, Rows], order: dict[str, Any]) -> Rows:
    return [line for line in history["order_lines"] if line["order_id"] == order["order_id"]]


def split_history(history: dict[str, Rows]) -> tuple[dict[str, Rows], dict[str, Rows], dict[str, int], dict[str, int]]:
    """What is known the day before, what the day brings beside its own orders, and lines set aside before and then.

    Each order in `chosen` stands for one way in which the past can change.
    """
    since = datetime.fromisoformat(f"{FIRST_CHANGED + timedelta(days=4)}T00:00:00+00:00")
    orders = [row for row in history["orders"] if row["customer_id"] != LATE_CUSTOMER and row["ordered_at"] >= since]
    chosen = iter(orders[:: len(orders) // 10])
    priced, moved, given, deleted, shortened, late, named, unnamed, readmitted = (next(chosen) for _ in range(9))
    now = datetime.fromisoformat(f"{DAY}T12:00:00+00:00")

    def corrected(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
        return {**row, "updated_at": now, **changes}

    late_line, *_ = lines_of(history, late)
    paid = payments_of(history["orders"])
    labels = labels_of(paid, now)
    late_payment, corrected_payment, deleted_payment = paid[len(paid) // 2], paid[-20], paid[-30]
    ids = {row["order_id"] for row in orders}
    withdrawn, restated, news = (
        next(row for row in labels[table] if row["order_id"] in ids)
        for table in ("chargebacks", "refunds", "fraud_reviews")
    )
    busy = [
        {
            "interaction_id": f"i{number}",
            "customer_id": BOT,
            "occurred_at": datetime.fromisoformat(f"{FIRST_DAY}T05:10:00+00:00"),
            "interaction_type": "view",
        }
        for number in range(601)
    ]
    known = {
        "payments": [row for row in paid if row is not late_payment],
        "chargebacks": labels["chargebacks"],
        "refunds": labels["refunds"],
        "fraud_reviews": [row for row in labels["fraud_reviews"] if row is not news],
        "interactions": busy[:600],
        "customers": [row for row in history["customers"] if row["customer_id"] != LATE_CUSTOMER],
        "products": [row for row in history["products"] if row["product_id"] != LATE_PRODUCT],
        "orders": [{**row, "customer_id": None} if row is named else row for row in history["orders"]],
        "order_lines": [row for row in history["order_lines"] if row is not late_line],
        "demographics": history["demographics"],
    }
    brought = {
        "payments": [
            late_payment,
            corrected(corrected_payment, amount_cents=77, device_hash="de0"),
            corrected(deleted_payment, _op="delete"),
        ],
        "chargebacks": [corrected(withdrawn, _op="delete")],
        "refunds": [corrected(restated, reason="damaged" if restated["reason"] == "fraud" else "fraud")],
        "fraud_reviews": [news],
        "interactions": busy[600:],
        "customers": history["customers"],
        "products": [
            {**row, "is_merchandise": row["product_id"] != FLIPPED_PRODUCT and row["is_merchandise"]}
            for row in history["products"]
        ],
        "orders": [
            corrected(moved, ordered_at=moved["ordered_at"] - timedelta(days=3)),
            corrected(given, customer_id=orders[0]["customer_id"]),
            corrected(deleted, _op="delete"),
            corrected(named),
            corrected(unnamed, customer_id=None),
        ],
        "order_lines": [
            corrected(lines_of(history, priced)[0], amount_cents=99_999),
            corrected(lines_of(history, shortened)[0], _op="delete"),
            late_line,
        ],
    }
    return known, brought, {readmitted["order_id"]: 1}, {readmitted["order_id"]: -1}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A shop whose raw store holds its history, and one more day that brings every change at once."""
    shop = small_shop(tmp_path_factory.mktemp("shop"), FIRST_DAY, 22, customers=30, products=40)
    made = shop_settings(tmp_path_factory.mktemp("state"), shop)
    known, brought, set_aside, came_back = split_history(history_of(made))
    append(made, known, FIRST_DAY, DAY_BEFORE, set_aside)
    source = FilesSource(made)
    for table in ("orders", "order_lines"):
        brought[table] += source.read(table, DAY, DAY + timedelta(days=1)).rows.to_pylist()
    brought["payments"] += payments_of(brought["orders"], seed=2)
    append(made, brought, DAY, DAY, came_back)
    return made


@pytest.fixture(scope="module")
def build(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Built]:
    """Build up to a day into a database of one's choice; the marts' parts go to a store of that database's own."""
    stores: dict[Path, VersionStore] = {}

    def built(day: date, database: Path | None = None, project: Path = DBT_PROJECT_DIR) -> Built:
        version = RawStore(settings).versions.current()
        assert version is not None
        run: DbtRun = build_scratch(settings, version.id, day, project, database)
        store = stores.setdefault(run.database, VersionStore(tmp_path_factory.mktemp("marts")))
        with duckdb.connect(str(run.database), read_only=True) as connection:
            ((kind, status),) = connection.execute(
                "select kind, status from build_state.run, build_state.state"
            ).fetchall()
        assert status == "built"
        parts: list[Part] = write_mart_parts(run, store)
        contents = {(part.table, part.partition): part.sha256 for part in parts}
        return Built(kind, contents, feature_fingerprints(run.manifest))

    return built


@pytest.fixture(scope="module")
def before(build: Callable[..., Built]) -> Built:
    return build(DAY_BEFORE)


@pytest.fixture(scope="module")
def after(build: Callable[..., Built], before: Built) -> Built:
    assert before.kind == "full"
    return build(DAY)


@pytest.fixture(scope="module")
def from_nothing(build: Callable[..., Built], tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(DAY, tmp_path_factory.mktemp("elsewhere") / "whole.duckdb")


def test_one_more_day_with_every_kind_of_change_leaves_what_a_build_from_nothing_leaves(
    before: Built, after: Built, from_nothing: Built
) -> None:
    assert (before.kind, after.kind, from_nothing.kind) == ("full", "incremental", "full")
    changed = {part for part, content in after.parts.items() if before.parts.get(part) != content}
    assert {("fct_orders", "2024-01"), ("feat_customer", "2024-01-15"), ("dim_products", "all")} <= changed
    assert {("feat_order_risk", "2024-01"), ("fct_fraud_labels", "2024-01"), ("dim_customers", "all")} <= changed
    unchanged = {("feat_customer", "2024-01-08"), ("feat_product", "2024-01-08")}
    assert unchanged <= set(after.parts) - changed, "the day touched more than what it changed"
    differing = {
        part for part in {*after.parts, *from_nothing.parts} if after.parts.get(part) != from_nothing.parts.get(part)
    }
    assert len(from_nothing.parts) > 10
    assert differing == set()


def test_a_features_fingerprint_is_that_of_its_code_not_of_the_kind_of_build(before: Built, after: Built) -> None:
    assert len(after.fingerprints) == 3
    assert before.fingerprints == after.fingerprints


def test_what_a_failed_build_of_edited_models_left_is_not_built_upon(
    settings: Settings, build: Callable[..., Built], after: Built, from_nothing: Built, tmp_path: Path
) -> None:
    assert after.kind == "incremental"
    project = copy_project(tmp_path)
    model = project / "models" / "intermediate" / "int_orders__totalled.sql"
    model.write_text(
        model.read_text().replace("coalesce(totals.amount_cents, 0)", "coalesce(totals.amount_cents, 1) + 1")
    )
    model = project / "models" / "marts" / "core" / "dim_customers.sql"
    model.write_text(model.read_text().replace("customers.registered_at,", "customers.registered_on,"))
    with pytest.raises(ToolFailed, match="dim_customers"):
        build(DAY, project=project)
    with duckdb.connect(str(scratch_path(settings)), read_only=True) as connection:
        assert connection.execute("select status from build_state.state").fetchall() == [("absorbing",)]
    again = build(DAY)
    assert again.kind == "full"
    assert again.parts == from_nothing.parts


def test_a_build_that_is_blind_to_one_kind_of_change_leaves_something_else(
    build: Callable[..., Built], from_nothing: Built, tmp_path: Path
) -> None:
    project = copy_project(tmp_path)
    macros = project / "macros" / "affected.sql"
    seen = "(select min(order_date) from build_state.affected_day)"
    assert macros.read_text().count(seen) == 1
    macros.write_text(macros.read_text().replace(seen, "null"))  # features of mornings that late changes reach
    database = tmp_path / "blind.duckdb"
    assert build(DAY_BEFORE, database, project).kind == "full"
    blind = build(DAY, database, project)
    assert blind.kind == "incremental"
    assert blind.parts != from_nothing.parts


_BUILD = """
import sys
from datetime import date
from pathlib import Path
from ml.settings import PROJECT_DIR, Settings, wall_clock
from ml.stores.dbt_run import build_scratch
from ml.stores.raw import RawStore
settings = Settings(_env_file=None, state_dir=sys.argv[1], shop_id=sys.argv[2])
raw_version = RawStore(settings).versions.current().id
build_scratch(settings, raw_version, date.fromisoformat(sys.argv[3]), database=Path(sys.argv[4]))
"""


@pytest.mark.parametrize(
    "models_begun", [1, pytest.param(8, marks=pytest.mark.full), pytest.param(16, marks=pytest.mark.full)]
)
def test_what_a_killed_build_left_is_not_built_upon(
    settings: Settings, build: Callable[..., Built], from_nothing: Built, tmp_path: Path, models_begun: int
) -> None:
    database = tmp_path / "killed.duckdb"
    assert build(DAY_BEFORE, database).kind == "full"
    arguments = [str(settings.shop_dir.parent), settings.shop_id, DAY.isoformat(), str(database)]
    building = subprocess.Popen([sys.executable, "-c", _BUILD, *arguments], cwd=PROJECT_DIR)
    compiled = settings.shop_dir / "dbt" / "target" / "run" / "shopwright" / "models"
    begun = wall_clock().timestamp()

    def written() -> int:
        """Models of which dbt has begun to write the table in this build."""
        return sum(path.stat().st_mtime > begun for path in compiled.rglob("*.sql"))

    while written() < models_begun:
        assert building.poll() is None, "the build ended before it could be killed"
        time.sleep(0.02)
    dbt = psutil.Process(building.pid).children(recursive=True)
    assert dbt
    for process in [psutil.Process(building.pid), *dbt]:
        process.kill()
    building.wait()
    psutil.wait_procs(dbt)
    again = build(DAY, database)
    assert again.kind == "full"
    assert again.parts == from_nothing.parts


def test_an_older_day_is_built_from_nothing(build: Callable[..., Built], before: Built, after: Built) -> None:
    assert after.kind == "incremental"
    older = build(DAY_BEFORE)
    assert older.kind == "full"
    assert older.parts == before.parts
