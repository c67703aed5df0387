"""The arrival gate: bad batches, which it holds whole, and bad rows, which it sets aside."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from unittest.mock import patch

import pyarrow as pa

from ml.cli import ingest
from ml.cli.selftest.arrival_rows import BAD_ROWS, prove_rows, prove_rows_switch
from ml.cli.selftest.bench import DAY, Bench
from ml.cli.selftest.judging import BlockingGate
from ml.cli.selftest.proofs import BadInput, Proof, Walk
from ml.cli.selftest.spoiling import with_all
from ml.cli.selftest.switches import verdicts_pass
from ml.shop import breakages
from ml.shop.breakages import rewrite, with_column
from ml.shop.generated import day_file

LAND, GATE = "shop_ingest.land_days", "shop_ingest.gate_arrivals"
LINES = "order_lines"


def _breakage(name: str) -> Callable[[Bench], None]:
    def plant(bench: Bench) -> None:
        breakages.break_shop(bench.files, name, DAY)

    return plant


def _change_lines(bench: Bench, change: Callable[[pa.Table], pa.Table]) -> None:
    rewrite(day_file(bench.files, LINES, DAY), change)


def _as_floats(bench: Bench) -> None:
    """Amounts come as euros with decimals."""

    def change(rows: pa.Table) -> pa.Table:
        euros = [cents / 100 for cents in rows.column("amount_cents").to_pylist()]
        return with_column(rows, "amount_cents", euros, pa.float64())

    _change_lines(bench, change)


def _of_yesterday(bench: Bench) -> None:
    """The day's files hold events of the day before."""

    def change(rows: pa.Table) -> pa.Table:
        return with_column(rows, "ordered_at", [at - timedelta(days=1) for at in rows.column("ordered_at").to_pylist()])

    for table in ("orders", LINES):
        rewrite(day_file(bench.files, table, DAY), change)


def _rarely_filled_renamed(bench: Bench) -> None:
    """A column that most rows leave empty goes by another name."""

    def change(rows: pa.Table) -> pa.Table:
        return rows.rename_columns(["mail_address" if name == "email" else name for name in rows.column_names])

    rewrite(bench.files / "customers.parquet", change)


def _few_rows(bench: Bench) -> None:
    _change_lines(bench, lambda rows: rows.slice(0, 3))


def _many_bad_rows(bench: Bench) -> None:
    """A fifth of the day's lines, far more than may be set aside."""

    def change(rows: pa.Table) -> pa.Table:
        values = rows.column("quantity").to_pylist()
        return with_column(rows, "quantity", [0.0 if at % 5 == 0 else value for at, value in enumerate(values)])

    _change_lines(bench, change)


def _changed_bytes(bench: Bench) -> None:
    """A landed file is damaged before it is judged."""
    ingest.land_days(DAY, DAY)
    (path,) = (bench.settings.shop_dir / "landing" / LINES).glob(f"{DAY}.1d.*/rows.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _nothing_to_recommend(bench: Bench) -> None:
    """A new shop whose first products hold no merchandise."""
    bench.forget_state()
    rewrite(bench.files / "products.parquet", lambda rows: with_all(rows, "is_merchandise", False))


@contextmanager
def _check_raises(_bench: Bench) -> Iterator[None]:
    """One expectation about order lines asks for a column that is not there."""
    from expectations.suites.arrivals import ARRIVAL_SUITES

    suite = ARRIVAL_SUITES[LINES]

    def broken(arrival):  # type: ignore[no-untyped-def]  # as the suites, whose types import Great Expectations
        rules = suite(arrival)
        rules[0].column = "no_such_column"
        return rules

    with patch.dict(ARRIVAL_SUITES, {LINES: broken}):
        yield


@contextmanager
def switched_off(_bench: Bench) -> Iterator[None]:
    """No row rule is asked, and every verdict on an arrival passes."""
    from expectations.suites.arrivals import ARRIVAL_SUITES
    from expectations.validation import ROW

    def without_row_rules(suite, arrival):  # type: ignore[no-untyped-def]
        return [rule for rule in suite(arrival) if rule.meta["scope"] != ROW]

    with ExitStack() as stack:
        stack.enter_context(
            patch.dict(
                ARRIVAL_SUITES, {name: partial(without_row_rules, suite) for name, suite in ARRIVAL_SUITES.items()}
            )
        )
        stack.enter_context(verdicts_pass("arrivals"))
        yield


_BATCHES = BlockingGate(
    gate="arrivals",
    task=GATE,
    stage="loaded",
    start=LAND,
    bad_inputs=(
        BadInput("euros instead of cents", "scale", _breakage("euros_instead_of_cents")),
        BadInput("a renamed column", "columns_present", _breakage("renamed_column")),
        BadInput("a renamed column that few rows fill", "form", _rarely_filled_renamed),
        BadInput("amounts as decimals", "column_types", _as_floats),
        BadInput("files without rows", "row_count", _breakage("empty_batch")),
        BadInput("an empty column", "null_share", _breakage("all_null_column")),
        BadInput("yesterday's events", "freshness", _of_yesterday),
        BadInput("hardly any rows", "rows_per_day", _few_rows),
        BadInput("more bad rows than the budget allows", "quarantined_share", _many_bad_rows),
        BadInput("no merchandise in a new shop", "some_merchandise", _nothing_to_recommend),
        BadInput("half a file", "source_readable", _breakage("truncated_parquet"), stops_at=LAND),
        BadInput("a landed file with a changed byte", "bytes_match_manifest", _changed_bytes, start=GATE),
        BadInput("a required table that never landed", "arrived", lambda _bench: None, start=GATE),
        BadInput("a check that cannot run", "is_null", lambda _bench: None, is_data=False, during=_check_raises),
    ),
    switched_off=switched_off,
    verdicts="arrivals",
    incident_kinds=("gate_failed", "gate_unknown", "schema_changed"),
)


@dataclass(frozen=True)
class ArrivalGate:
    """Proofs of both kinds of rules."""

    gate: str = "arrivals"
    task: str = GATE
    stage: str = "loaded"
    batches: BlockingGate = field(default=_BATCHES)

    @property
    def rules(self) -> Mapping[str, str]:
        return {**self.batches.rules, **{bad.name: bad.rule for bad in BAD_ROWS}}

    @property
    def switched(self) -> tuple[str, ...]:
        return (*self.batches.switched, BAD_ROWS[0].name)

    def prove(self, bench: Bench, walk: Walk) -> list[Proof]:
        return [
            *self.batches.prove(bench, walk),
            *prove_rows(bench, walk),
            prove_rows_switch(bench, walk, switched_off),
        ]
