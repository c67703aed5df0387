"""The check on what is served online: values that may not be served, and values that differ from the marts'."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from math import inf
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq

from ml.cli.selftest.bench import DAY, Bench
from ml.cli.selftest.dbt_tests import ingest_day
from ml.cli.selftest.judging import BlockingGate
from ml.cli.selftest.marts import PUBLISH
from ml.cli.selftest.proofs import BadInput, Walk
from ml.cli.selftest.spoiling import Change, with_first
from ml.cli.selftest.stages import must_pass
from ml.shop.breakages import with_column
from ml.stores import online_features
from ml.stores.feast_repo import online_path
from ml.stores.warehouse import marts_store, open_marts

TASK = "features_materialize.materialize_features"
RULE = "values_and_parity"
_MART = "feat_customer"


def _prepare(bench: Bench, walk: Walk) -> None:
    """The day's marts are published, and its values wait to be brought online."""
    ingest_day(bench, walk)
    must_pass(walk, "warehouse_build.build_models", PUBLISH, DAY.isoformat())


def _published(change: Change, *, in_all_parts: bool = False) -> Callable[[Bench], None]:
    """Change features of the published marts, the newest ones or all, as a model or an operator could."""

    def plant(bench: Bench) -> None:
        store, marts = marts_store(bench.settings), open_marts(bench.settings)
        found = sorted(marts.version.parts_of(_MART), key=lambda part: part.partition)
        changed = {
            part: store.write_part(_MART, part.partition, change(pq.read_table(store.path_of(part))))
            for part in (found if in_all_parts else found[-1:])
        }
        parts = [changed.get(part, part) for part in marts.version.parts]
        store.publish(parts, marts.version.lineage, marts.version.id)

    return plant


def _of_tomorrow(rows: pa.Table) -> pa.Table:
    moments = rows.column("feature_at").to_pylist()
    return with_first(rows, "feature_at", moments[0] + timedelta(days=2))


def _repeated(rows: pa.Table) -> pa.Table:
    customers = rows.column("customer_id").to_pylist()
    return with_column(rows, "customer_id", [customers[1], *customers[1:]])


def _changed_online(bench: Bench) -> None:
    """The values are brought online, and something else writes over them: everybody gets one customer's."""
    online_features.materialize(bench.settings, open_marts(bench.settings))
    with closing(sqlite3.connect(online_path(bench.settings))) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        (table,) = [name for name in tables if name.endswith(f"_{_MART}")]
        database.execute(
            f"update {table} set value = (select value from {table} as one"  # noqa: S608 - a name of Feast's own
            f" where one.feature_name = {table}.feature_name order by one.entity_key limit 1)"
        )
        database.commit()


@contextmanager
def _switched_off(_bench: Bench) -> Iterator[None]:
    """Values are served unchecked, and online always equals offline."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(online_features, "check_rows", lambda *_: None))
        stack.enter_context(patch.object(online_features, "parity", lambda *_: online_features.Parity(0, ())))
        yield


def _bad(name: str, rule: str, plant: Callable[[Bench], None], says: str) -> BadInput:
    return BadInput(name, rule, plant, says=says, recorded_as=RULE)


FEATURE_PARITY = BlockingGate(
    gate="feature_parity",
    task=TASK,
    stage="published",
    start=TASK,
    bad_inputs=(
        _bad("values changed online", "online_equals_offline", _changed_online, "online differs from offline"),
        _bad(
            "an infinite value",
            "finite",
            _published(lambda rows: with_first(rows, "mean_order_lines_91d", inf)),
            "is not finite in 1 rows",
        ),
        _bad("a value of the future", "not_in_future", _published(_of_tomorrow), "after the shop clock"),
        _bad(
            "a value of nobody",
            "key_present",
            _published(lambda rows: with_first(rows, "customer_id", None)),
            "is null in",
        ),
        _bad("two values of one customer", "key_unique", _published(_repeated), "repeat in 1 rows"),
        _bad(
            "a declared feature is missing",
            "columns_present",
            _published(lambda rows: rows.drop_columns(["mean_order_lines_91d"]), in_all_parts=True),
            "has no column mean_order_lines_91d",
        ),
    ),
    switched_off=_switched_off,
    verdicts="feature_parity",
    incident_kinds=("parity_failed", "task_failed"),
    prepare=_prepare,
)
