"""The warehouse's own steps over a stand-in for dbt and for the marts gate: marts that are a pure function of raw.

Staging, judging, fencing, publishing and recording are the real ones; only what fills the scratch database is not, so
that a publication takes milliseconds and can be killed at each of its steps.
"""

import os
import random
import resource
import shutil
from collections.abc import Callable, Iterable
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import ml.cli.warehouse as steps
import ml.stores.warehouse as warehouse
from ml.outcomes import ToolFailed as ToolFailed
from ml.settings import Settings, get_settings
from ml.stores.dbt_run import DbtRun
from ml.stores.durable import storage_named
from ml.stores.operations import Operations, _sqlite_engine, alerts, feature_versions, gate_verdicts
from ml.stores.raw import RawStore
from ml.stores.rollback import roll_back
from ml.stores.version_history import kept_versions
from ml.stores.versions import Part, StaleWriter, VersionStore

FIRST = date(2024, 1, 30)
NEXT = date(2024, 2, 1)  # another month, so that the next day keeps a part and changes one


def settings_of(state_dir: str | Path) -> Settings:
    return Settings(_env_file=None, state_dir=Path(state_dir), shop_id="tiny")


@lru_cache
def operations_of(state_dir: Path) -> Operations:
    """The operational record, opened once a process: setting it up takes longer than a publication."""
    return Operations(_sqlite_engine(f"sqlite:///{state_dir / 'tiny' / 'operations.db'}"))


def orders_of(day: date, seed: int) -> pa.Table:
    """The orders of a day, as many and such as the seed says."""
    dice = random.Random(f"{seed} {day}")  # noqa: S311 - no secret
    amounts = [dice.randrange(1, 10_000) for _ in range(dice.randrange(5, 40))]
    ids = [f"{day}-{number}" for number in range(len(amounts))]
    return pa.table({"order_id": ids, "order_date": [str(day)] * len(ids), "amount_cents": amounts})


def add_raw(state_dir: str | Path, days: Iterable[date], seed: int) -> None:
    """Publish the orders of days to raw, each as a batch of its own."""
    store = RawStore(settings_of(state_dir)).versions
    for day in days:
        part = store.write_part("orders", f"{day}.1d.00000000", orders_of(day, seed))
        while True:
            current = store.current()
            try:
                store.publish({*(current.parts if current else ()), part}, {}, current.id if current else None)
                break
            except StaleWriter:
                continue


def expected_marts(days: Iterable[date], seed: int) -> list[dict[str, Any]]:
    """What readers must see once these days are published."""
    return [row for day in sorted(days) for row in orders_of(day, seed).to_pylist()]


def published_marts(state_dir: str | Path) -> list[dict[str, Any]]:
    """What readers see: every part hashed, as they do."""
    marts = warehouse.open_marts(settings_of(state_dir))
    rows: pa.Table = marts.store.read(marts.version, "fct_orders")
    return sorted(rows.to_pylist(), key=lambda row: (row["order_date"], int(row["order_id"].rsplit("-")[-1])))


def install(settings: Settings) -> None:
    """Put the stand-ins into the real modules, for the life of this (child) process."""
    os.environ.update(SHOPWRIGHT_STATE_DIR=str(settings.state_dir), SHOPWRIGHT_SHOP_ID=settings.shop_id)
    get_settings.cache_clear()
    steps.gate_marts = _gate
    Operations.from_settings = staticmethod(lambda other: operations_of(other.state_dir))  # type: ignore[assignment]
    warehouse.build_scratch = _build  # type: ignore[attr-defined]
    warehouse.write_mart_parts = _write_parts  # type: ignore[attr-defined]
    warehouse.count_held = lambda *_: {}  # type: ignore[attr-defined]
    warehouse.feature_fingerprints = lambda _manifest: {"feat_customer": "f"}  # type: ignore[attr-defined]
    warehouse.known_or_new_fingerprints = lambda *_: {}  # type: ignore[attr-defined]


def _build(settings: Settings, raw_version: str, target_day: date, *_: Any, **__: Any) -> DbtRun:
    raw = RawStore(settings).select_batches(target_day)
    assert raw is not None
    database = settings.shop_dir / "warehouse" / "scratch.parquet"
    database.parent.mkdir(parents=True, exist_ok=True)
    tables = [pq.read_table(path) for path in raw.paths["orders"]]
    pq.write_table(pa.concat_tables(tables).sort_by([("order_date", "ascending"), ("order_id", "ascending")]), database)
    run = DbtRun(database, database)
    run.__dict__["manifest"] = {"nodes": {}}
    return run


def _write_parts(run: DbtRun, store: VersionStore, *_: Any, **__: Any) -> list[Part]:
    rows = pq.read_table(run.database)
    months = pc.utf8_slice_codeunits(rows["order_date"], 0, 7)
    return [
        store.write_part("fct_orders", month, rows.filter(pc.equal(months, month)))
        for month in sorted(set(months.to_pylist()))
    ]


def _gate(partition: date) -> dict[str, Any]:
    """Record a verdict and let the build pass, as the gate does."""
    settings = get_settings()
    staged, _ = warehouse.open_staged(settings, partition)
    operations_of(settings.state_dir).record_verdict(
        gate="marts",
        object="fct_orders",
        batch_id=staged.lineage["target_day"],
        partition=str(partition),
        status="passed",
        rules=[],
    )
    warehouse.mark_judged(settings, staged)
    return {}


def run_day(state_dir: str, day: str) -> str:
    """Build, judge and publish a day, from the first step on that is not done: what a scheduler's retry does.

    Returns:
        The version that readers see afterwards.
    """
    settings = settings_of(state_dir)
    install(settings)
    partition = date.fromisoformat(day)
    done = settings.shop_dir / f"done-{day}"
    finished = done.read_text().split() if done.exists() else []
    for step in (steps.build_models, steps.gate_marts, steps.publish_marts):
        name = "gate_marts" if step is steps.gate_marts else step.__name__
        if name not in finished:
            step(partition)
            finished.append(name)
            done.parent.mkdir(parents=True, exist_ok=True)
            with storage_named("the scheduler's memory"):
                done.write_text(" ".join(finished))
    return warehouse.open_marts(settings).version.id


def look_retry_look(state_dir: str, day: str) -> dict[str, Any]:
    """What readers see, before and after a day is run again."""
    before = look(state_dir)
    run_day(state_dir, day)
    return {"before": before, "after": look(state_dir)}


def look(state_dir: str) -> dict[str, Any]:
    """What readers and operators see of the marts, as JSON."""
    settings = settings_of(state_dir)
    store, operations = warehouse.marts_store(settings), operations_of(settings.state_dir)
    unfinished = [*store.root.rglob(".part-*"), *store.root.rglob(".v0*"), *store.root.rglob(".CURRENT.*")]
    return {
        "rows": published_marts(state_dir),
        "fates": [kept.fate.value for kept in kept_versions(store)],
        "problems": store.scrub(),
        "unfinished": [path.name for path in unfinished],
        "verdicts": len(operations.rows(gate_verdicts, object="fct_orders", partition=str(NEXT))),
        "feature_versions": len(operations.rows(feature_versions)),
        "alerts": len(operations.rows(alerts)),
    }


def publish_on_a_full_disk(published: str, disk: str, leave_kb: int, day: str) -> dict[str, Any]:
    """Copy a shop onto a small disk, fill that up to some room, run a day, make room, and run the day again."""
    state = Path(disk) / f"{leave_kb}"
    shutil.copytree(published, state)
    ballast = Path(disk) / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(max(0, shutil.disk_usage(disk).free - leave_kb * 1024)))
    try:
        refused = _error_of(run_day, str(state), day)
        seen = published_marts(state)
        ballast.unlink()
        run_day(str(state), day)
        return {"refused": refused, "seen": seen, "after": look(str(state))}
    finally:
        ballast.unlink(missing_ok=True)
        shutil.rmtree(state)


def publish_under_a_file_limit(state_dir: str, day: str, limit: int, steps_before: int = 0) -> dict[str, Any]:
    """Run a day in a process whose files may not grow beyond some bytes; the first steps run without the limit."""
    if steps_before:
        install(settings_of(state_dir))
        for step in (steps.build_models, steps.gate_marts)[:steps_before]:
            step(date.fromisoformat(day))
        (settings_of(state_dir).shop_dir / f"done-{day}").write_text("build_models gate_marts")
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    refused = _error_of(run_day, state_dir, day)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return {"refused": refused, "seen": published_marts(state_dir)}


def publish_where_nothing_can_be_written(state_dir: str, day: str) -> dict[str, Any]:
    refused = _error_of(run_day, state_dir, day)
    rollback = _error_of(lambda: roll_back(settings_of(state_dir), reason="r", by="ann"))
    return {"refused": refused, "rollback": rollback, "seen": published_marts(state_dir)}


def fill_the_disk_under_duckdb(disk: str, seed: int) -> dict[str, Any]:
    """Fill a small disk from within a DuckDB file, make room, and open the file again."""
    file, ballast = Path(disk) / "scratch.duckdb", Path(disk) / "ballast"
    ballast.write_bytes(bytes(4 << 20))
    with duckdb.connect(str(file)) as database:
        database.execute("create table kept as select range as number from range(1000)")
    rows = 3_000_000 + seed
    more = f"create table more as select random() as number from range({rows})"  # noqa: S608 - our own

    def write() -> None:
        with duckdb.connect(str(file)) as database:
            database.execute(more)

    refused = _error_of(write)
    ballast.unlink()
    with duckdb.connect(str(file)) as database:
        kept = database.execute("select count(*) from kept").fetchall()[0][0]
        database.execute("create or replace table more as select random() as number from range(1000)")
        written = database.execute("select count(*) from more").fetchall()[0][0]
    file.unlink()
    return {"refused": refused, "kept": kept, "written": written}


def _error_of(call: Callable[..., Any], *arguments: Any) -> str | None:
    try:
        call(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return f"{type(error).__name__}: {error}"
    return None


def publish_interleaved(state_dir: str, days: list[str], seed: int) -> None:
    """Build two days from the same parent, the earlier one first, and publish the later one first."""
    install(settings_of(state_dir))
    earlier, later = (date.fromisoformat(day) for day in days)
    for day in (earlier, later):
        add_raw(state_dir, [day], seed)
        steps.build_models(day)
        steps.gate_marts(day)
    for day in (later, earlier):
        steps.publish_marts(day)
