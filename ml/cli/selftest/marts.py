"""The mart gate: a build whose tables dbt let pass, and that must not be published."""

from collections.abc import Callable
from dataclasses import replace
from math import inf

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ml.cli.selftest.bench import DAY, Bench
from ml.cli.selftest.dbt_tests import ingest_day
from ml.cli.selftest.judging import BlockingGate
from ml.cli.selftest.proofs import BadInput, Walk
from ml.cli.selftest.spoiling import Change, with_all, with_first
from ml.cli.selftest.stages import must_pass
from ml.cli.selftest.switches import verdicts_pass
from ml.stores.warehouse import open_staged, write_staged

GATE, PUBLISH = "warehouse_build.gate_marts", "warehouse_build.publish_marts"


def _prepare(bench: Bench, walk: Walk) -> None:
    ingest_day(bench, walk)
    must_pass(walk, "warehouse_build.build_models", "warehouse_build.build_models", DAY.isoformat())


def _staged(mart: str, change: Change, *, newest_only: bool = False) -> Callable[[Bench], None]:
    """Change the rows of a mart in the build that waits to be judged."""

    def plant(bench: Bench) -> None:
        staged, marts = open_staged(bench.settings, DAY)
        parts = sorted(marts.version.parts_of(mart), key=lambda part: part.partition)
        for part in parts[-1:] if newest_only else parts:
            rows = change(pq.read_table(marts.store.path_of(part)))
            written = marts.store.write_part(mart, part.partition, rows)
            staged = replace(staged, parts=tuple(sorted({*staged.parts, written} - {part})))
        write_staged(bench.settings, staged)

    return plant


def _without(mart: str) -> Callable[[Bench], None]:
    def plant(bench: Bench) -> None:
        staged, _ = open_staged(bench.settings, DAY)
        parts = tuple(part for part in staged.parts if part.table != mart)
        write_staged(bench.settings, replace(staged, parts=parts))

    return plant


def _before_the_day(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.less(rows.column("order_date"), pa.scalar(DAY)))


MARTS = BlockingGate(
    gate="marts",
    task=GATE,
    stage="published",
    start=GATE,
    bad_inputs=(
        BadInput(
            "a negative amount",
            "not_too_small",
            _staged("fct_orders", lambda rows: with_first(rows, "amount_cents", -1)),
        ),
        BadInput(
            "a share of 150 %",
            "not_too_large",
            _staged("feat_customer", lambda rows: with_first(rows, "weekend_share_364d", 1.5)),
        ),
        BadInput(
            "an infinite mean",
            "finite",
            _staged("feat_customer", lambda rows: with_first(rows, "mean_order_lines_91d", inf)),
        ),
        BadInput(
            "a column that turned empty",
            "null_share",
            _staged("feat_customer", lambda rows: with_all(rows, "mean_order_lines_91d", None)),
        ),
        BadInput("no products", "row_count", _staged("dim_products", lambda rows: rows.slice(0, 0))),
        BadInput("the newest day is missing", "freshness", _staged("fct_orders", _before_the_day)),
        BadInput(
            "a row that is accounted for nowhere",
            "rows_conserved",
            _staged("fct_row_conservation", lambda rows: with_first(rows, "rows_in", 10**6)),
        ),
        BadInput("a mart that was not built", "built", _without("dim_products")),
    ),
    switched_off=lambda _bench: verdicts_pass("marts"),
    verdicts="marts",
    incident_kinds=("gate_failed",),
    prepare=_prepare,
)
