"""Bad rows at the arrival gate. They do not stop the day: each has to be set aside and to reach neither raw nor marts.

All of them are planted in the files of one day, which then goes through the DAGs up to the published marts.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ml.cli.selftest.bench import DAY, Bench
from ml.cli.selftest.judging import proof_of, rule_kind
from ml.cli.selftest.proofs import SWITCHED_OFF, Proof, Walk, Walked
from ml.shop.breakages import as_csv, rewrite, with_column
from ml.shop.contract import CONTRACT
from ml.shop.generated import day_file, write_rows
from ml.stores.operations import gate_verdicts, incidents, quarantine_entries
from ml.stores.raw import RawStore
from ml.stores.warehouse import open_marts

GATE, MARTS = "shop_ingest.gate_arrivals", "warehouse_build.publish_marts"
_GATE_NAME = "arrivals"
_MART_OF = {"orders": "fct_orders", "order_lines": "fct_order_lines", "customers": "dim_customers"}
_NOON = datetime(DAY.year, DAY.month, DAY.day, 18, tzinfo=UTC)


@dataclass(frozen=True)
class BadRow:
    """A row that breaks one row rule.

    Attributes:
        rule: Kind of the rule that has to claim it.
        column: What is spoiled in it; None where the row as a whole is unreadable.
        value: The bad value, or what makes it of the good one.
    """

    name: str
    rule: str
    table: str
    column: str | None
    value: object | Callable[[Any], object] = None


BAD_ROWS = (
    BadRow("a quantity of zero", "not_positive", "order_lines", "quantity", 0.0),
    BadRow("a negative amount", "negative", "order_lines", "amount_cents", -500),
    BadRow("an infinite quantity", "not_finite", "order_lines", "quantity", inf),
    BadRow("no product", "is_null", "order_lines", "product_id", None),
    BadRow("an empty product", "is_blank", "order_lines", "product_id", ""),
    BadRow("another currency", "not_settlement", "order_lines", "currency", "EUR"),
    BadRow(
        "an event of next year",
        "event_time_in_future",
        "order_lines",
        "ordered_at",
        lambda at: at.replace(year=at.year + 1),
    ),
    BadRow(
        "an event of 1999", "event_time_out_of_range", "order_lines", "ordered_at", lambda at: at.replace(year=1999)
    ),
    BadRow("a customer of tomorrow", "in_future", "customers", "registered_at", _NOON + timedelta(days=2)),
    BadRow("an unknown kind of interaction", "not_allowed", "interactions", "interaction_type", "stare"),
    BadRow(
        "a campaign that ends before it starts", "ends_before_start", "campaigns", "ends_on", DAY - timedelta(days=9)
    ),
    BadRow("a text for a number", "unreadable", "orders", "total_amount_cents", "twelve"),
    BadRow("a line with a field too many", "line_unparsed", "orders", None),
)


def prove_rows(bench: Bench, walk: Walk) -> list[Proof]:
    """Take the day with all bad rows through ingest and build, and look for each where it must not be."""
    bench.reset()
    keys = plant_rows(bench)
    walked = walk("shop_ingest.land_days", MARTS, DAY.isoformat())
    return [
        proof_of(_GATE_NAME, bad.name, lambda bad=bad, key=key: _problems(bench, walked, bad, key))  # type: ignore[misc]
        for bad, key in zip(BAD_ROWS, keys, strict=True)
    ]


def prove_rows_switch(bench: Bench, walk: Walk, switch: Callable[[Bench], AbstractContextManager[object]]) -> Proof:
    """With the gate switched off, a bad row has to reach raw, and its proof has to fail by that."""
    bad = BAD_ROWS[0]

    def problems() -> Iterator[str]:
        bench.reset()
        key = plant_rows(bench, [bad])[0]
        with switch(bench):
            walked = walk("shop_ingest.land_days", GATE, DAY.isoformat())
        if not any(problem.startswith(_REACHED) for problem in _problems(bench, walked, bad, key, marts=False)):
            yield "with the gate switched off the bad row was still set aside"

    return proof_of(_GATE_NAME, f"{SWITCHED_OFF}{bad.name}", problems)


_REACHED = "the row reached"


def _problems(bench: Bench, walked: Walked, bad: BadRow, key: str, *, marts: bool = True) -> Iterator[str]:
    wanted = MARTS if marts else GATE
    if wanted not in walked.passed:
        told = "; ".join(f"{name}: {failure.message}" for name, failure in walked.failed.items())
        yield f"the day with set-aside rows did not get to {wanted} ({told})"
        return
    identity = CONTRACT[bad.table].key[0]
    raw = RawStore(bench.settings).versions
    version = raw.current()
    assert version is not None
    fresh = [part for part in version.parts_of(bad.table) if part.partition.startswith(DAY.isoformat())]
    rows = [row for part in fresh for row in pq.read_table(raw.open_part(part), columns=[identity]).to_pylist()]
    if not rows:
        yield f"no row of {bad.table} reached raw, so that nothing can be told"
    if key in {row[identity] for row in rows}:
        yield f"{_REACHED} raw"
    if marts and bad.table in _MART_OF and _is_in_marts(bench, _MART_OF[bad.table], identity, key):
        yield f"{_REACHED} {_MART_OF[bad.table]}"
    yield from _untold(bench, bad)


def _is_in_marts(bench: Bench, mart: str, identity: str, key: str) -> bool:
    with open_marts(bench.settings).connect() as connection:
        found = connection.table(mart).filter(f"{identity} = '{key}'").fetchall()
        assert connection.table(mart).limit(1).fetchall(), f"{mart} is empty"
    return bool(found)


def _untold(bench: Bench, bad: BadRow) -> Iterator[str]:
    verdicts = bench.operations.rows(
        gate_verdicts, gate=_GATE_NAME, object=bad.table, partition=DAY.isoformat(), status="passed"
    )
    aside = {rule["rule"] for row in verdicts for rule in row["rules"] if rule["status"] == "set_aside"}
    named = [rule for rule in aside if rule_kind(rule, bad.table) == bad.rule]
    if not named:
        yield f"no verdict set a row of {bad.table} aside by {bad.rule}"
    for rule in named:
        if not bench.operations.rows(quarantine_entries, table_name=bad.table, rule=rule):
            yield f"quarantine has no entry of {rule}"
        if not bench.operations.rows(incidents, kind="rows_set_aside", object=bad.table, rule=rule):
            yield f"no incident tells of rows set aside by {rule}"


def plant_rows(bench: Bench, bad_rows: Sequence[BadRow] = BAD_ROWS) -> list[str]:
    """Spoil one row of the day's files for each; returns the rows' keys."""
    _add_optional_tables(bench)
    keys = []
    for position, bad in enumerate(bad_rows):
        if bad.table == "orders":
            continue
        whole = bench.files / f"{bad.table}.parquet"
        path = whole if whole.exists() else day_file(bench.files, bad.table, DAY)
        assert bad.column is not None
        rewrite(path, lambda rows, bad=bad, position=position: _spoiled(rows, position, bad))  # type: ignore[misc]
        keys.append(str(pq.read_table(path).column(CONTRACT[bad.table].key[0])[position]))
    orders = [bad for bad in bad_rows if bad.table == "orders"]
    return [*keys, *_plant_in_csv(bench, orders)] if orders else keys


def _spoiled(rows: pa.Table, position: int, bad: BadRow) -> pa.Table:
    assert bad.column is not None
    values = rows.column(bad.column).to_pylist()
    values[position] = bad.value(values[position]) if callable(bad.value) else bad.value
    if bad.table == "customers":  # as one whom nobody knows yet: known ones are in the marts already
        identities = rows.column("customer_id").to_pylist()
        identities[position] = "c-new"
        rows = with_column(rows, "customer_id", identities)
    return with_column(rows, bad.column, values)


def _plant_in_csv(bench: Bench, bad_rows: Sequence[BadRow]) -> list[str]:
    """Orders come as CSV, whose fields are read one by one."""
    path = as_csv(bench.files, DAY, "orders")
    lines = path.read_text().splitlines()
    header = lines[0].split(",")
    keys = []
    for number, bad in enumerate(bad_rows, start=1):
        fields = lines[number].split(",")
        keys.append(fields[header.index("order_id")])
        if bad.column is None:
            fields.append("surplus")
        else:
            fields[header.index(bad.column)] = str(bad.value)
        lines[number] = ",".join(fields)
    path.write_text("\n".join(lines) + "\n")
    return keys


def _add_optional_tables(bench: Bench) -> None:
    """Tables that the small shop does not have by itself, large enough for one bad row within their budget."""
    count = 40
    interactions = [
        {
            "interaction_id": f"i{number}",
            "customer_id": f"c{number:04d}",
            "product_id": "p0001",
            "occurred_at": _NOON,
            "interaction_type": "view",
        }
        for number in range(count)
    ]
    write_rows(day_file(bench.files, "interactions", DAY), "interactions", interactions)
    campaigns: list[dict[str, object]] = [
        {"campaign_id": f"k{number}", "campaign_type": "A", "starts_on": DAY, "ends_on": DAY + timedelta(days=30)}
        for number in range(count)
    ]
    write_rows(bench.files / "campaigns.parquet", "campaigns", campaigns)
