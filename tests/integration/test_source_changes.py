"""Corrections and deletions by the source: rows like others at the gate, and the newest word on a key in staging."""

import re
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expectations.readmission import readmit
from ml.cli.ingest import gate_arrivals, land_days
from ml.settings import PROJECT_DIR, get_settings
from ml.shop.contract import CONTRACT, RESERVED_COLUMNS
from ml.shop.generated import day_file
from ml.stores.operations import gate_verdicts
from ml.stores.quarantine import EntryKey
from ml.stores.raw import BATCHES
from ml.stores.readmissions import EntryDesk, Signature
from tests.gate_records import operations, raw_rows
from tests.readmission_shop import (
    DAY,
    HISTORY_END,
    NOT_POSITIVE,
    make_history,
    newest_batch,
    use,
)

LINES = CONTRACT["order_lines"]
SCHEMA = pa.schema([*LINES.schema, *(pa.field(column.name, column.type.arrow) for column in RESERVED_COLUMNS)])


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Lines of the day before; the day itself corrects the first, and deletes the second by its key alone.

    It also brings a line that it deletes itself, and one of quantity 0 whose deletion comes the day after.
    """
    use(tmp_path, monkeypatch)
    make_history(tmp_path)
    shop = tmp_path / "shop"
    before = pq.read_table(day_file(shop, "order_lines", HISTORY_END)).to_pylist()
    path = day_file(shop, "order_lines", DAY)
    rows = pq.read_table(path).to_pylist()
    now = rows[0]["ordered_at"]
    rows[1]["quantity"] = 0.0
    rows += [
        {**before[0], "amount_cents": before[0]["amount_cents"] + 1, "updated_at": now},
        {"order_line_id": before[1]["order_line_id"], "updated_at": now, "_op": "delete"},
        {"order_line_id": rows[0]["order_line_id"], "_op": "delete"},
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    land_days(DAY, DAY)
    gate_arrivals(DAY)
    return [*before[:2], *rows[:2]]


def staged(line: dict[str, object]) -> list[dict[str, object]]:
    """What staging keeps of a line's key: the project's own order of precedence over raw's rows."""
    macro = (PROJECT_DIR / "dbt_project" / "macros" / "newest_first.sql").read_text()
    found = re.search(r"macro newest_event_first\(\) -%}(.*?){%- endmacro", macro, re.S)
    assert found is not None
    rows = pa.Table.from_pylist(raw_rows("order_lines", order_line_id=line["order_line_id"]))
    assert rows.num_rows > 0
    with duckdb.connect() as connection:
        connection.register("source", rows)
        query = f"""
            from (from source qualify row_number() over (partition by order_line_id order by {found[1]}) = 1)
            where _op is distinct from 'delete'
        """
        return connection.sql(query).to_arrow_table().to_pylist()


def test_corrections_and_deletions_pass_the_gate_and_are_the_newest_word(lines: list[dict[str, object]]) -> None:
    corrected, deleted, deleted_at_once, _ = lines
    [verdict] = operations().rows(gate_verdicts, object="order_lines", batch_id=newest_batch())
    assert (verdict["status"], verdict["rows_quarantined"], verdict["rows_collapsed"]) == ("passed", 1, 1)
    [batch] = [row for row in raw_rows(BATCHES, table_name="order_lines") if row["batch_id"] == newest_batch()]
    assert batch["rows_in"] == batch["rows_accepted"] + batch["rows_quarantined"] + batch["rows_collapsed"]
    assert batch["rows_late"] == 1, "the corrected line is of the day before; a deletion has no day of its own"
    assert [row["amount_cents"] for row in staged(corrected)] == [corrected["amount_cents"] + 1]  # type: ignore[operator]
    assert len(raw_rows("order_lines", order_line_id=deleted["order_line_id"])) == 2
    assert staged(deleted) == []
    assert staged(deleted_at_once) == []


def test_what_the_source_deleted_meanwhile_stays_deleted_when_it_comes_back_from_quarantine(
    lines: list[dict[str, object]], tmp_path: Path
) -> None:
    set_aside, batch = lines[3], newest_batch()
    following = DAY + timedelta(days=1)
    gone = {"order_line_id": set_aside["order_line_id"], "_op": "delete"}
    others = pq.read_table(day_file(tmp_path / "shop", "order_lines", HISTORY_END)).to_pylist()
    moved = [
        {**row, "order_line_id": f"{row['order_line_id']}-next", "ordered_at": row["ordered_at"] + timedelta(days=2)}
        for row in others
    ]
    path = day_file(tmp_path / "shop", "order_lines", following)
    pq.write_table(pa.Table.from_pylist([*moved, gone], schema=SCHEMA), path)
    orders = pq.read_table(day_file(tmp_path / "shop", "orders", HISTORY_END)).to_pylist()
    moved_orders = [
        {**row, "order_id": f"{row['order_id']}-next", "ordered_at": row["ordered_at"] + timedelta(days=2)}
        for row in orders
    ]
    path = day_file(tmp_path / "shop", "orders", following)
    pq.write_table(pa.Table.from_pylist(moved_orders, schema=CONTRACT["orders"].schema), path)
    land_days(following, following)
    gate_arrivals(following)
    settings, key = get_settings(), EntryKey("order_lines", batch, NOT_POSITIVE)
    outcome = readmit(
        settings, key, EntryDesk(settings, key).as_they_were(), as_is=True, signature=Signature("a sample", "ada")
    )
    assert (outcome.passed, outcome.known_keys) == (1, 1)
    assert len(raw_rows("order_lines", order_line_id=set_aside["order_line_id"])) == 2
    assert staged(set_aside) == []
