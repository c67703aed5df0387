"""What comes back from quarantine is in the marts as if the source had been right from the start."""

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ml.cli import readmitted
from ml.cli.ingest import gate_arrivals, land_days
from ml.outcomes import EXIT_OK
from ml.settings import get_settings
from ml.shop.breakages import zero_quantity
from ml.shop.generated import day_file, small_shop
from ml.stores.operations import gate_verdicts
from ml.stores.versions import Part
from ml.stores.warehouse import mark_judged, open_marts, publish_staged, stage_marts
from tests.command_line import shopwright
from tests.gate_records import operations
from tests.raw_shop import publish_raw
from tests.readmission_shop import DAY, FIRST, NOT_POSITIVE, PLANTED, edit, use


def content(parts: tuple[Part, ...]) -> dict[tuple[str, str], str]:
    """Hash per mart and part; row conservation is left out, since it tells the batches apart."""
    return {(part.table, part.partition): part.sha256 for part in parts if part.table != "fct_row_conservation"}


def count(query: str) -> int:
    with open_marts(get_settings()).connect() as connection:
        return int(connection.execute(query).fetchall()[0][0])


@pytest.mark.full
def test_readmitted_rows_make_the_marts_of_a_shop_that_was_right_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(tmp_path / "right", monkeypatch)
    right = small_shop(tmp_path / "right" / "shop", FIRST, 10, customers=20)
    publish_raw(get_settings(), [(FIRST, DAY)])
    expected = content(stage_marts(get_settings(), DAY).parts)
    assert len(expected) > 8

    use(tmp_path / "wrong", monkeypatch)
    wrong = small_shop(tmp_path / "wrong" / "shop", FIRST, 10, customers=20)
    zero_quantity(wrong, DAY, rows=PLANTED)
    land_days(FIRST, DAY)
    gate_arrivals(DAY)
    mark_judged(get_settings(), stage_marts(get_settings(), DAY))
    publish_staged(get_settings(), DAY)
    assert content(open_marts(get_settings()).version.parts) != expected
    assert count("select count(*) from fct_orders where not is_complete") > 0

    batch = operations().rows(gate_verdicts, gate="arrivals", object="order_lines")[0]["batch_id"]
    entry = ("order_lines", "--batch", batch, "--rule", NOT_POSITIVE, "--reason", "from the journal")
    file = tmp_path / "rows.csv"
    assert shopwright("quarantine", "export", *entry[:1], file, *entry[1:]) == EXIT_OK
    lines = pq.read_table(day_file(right, "order_lines", DAY)).to_pylist()
    journal = {row["order_line_id"]: row["quantity"] for row in lines}
    edit(file, lambda rows: [{**row, "quantity": str(journal[row["order_line_id"]])} for row in rows])
    materialized = []

    def materialize(partition: date) -> dict[str, str]:  # the online store has tests of its own, and takes its time
        materialized.append((partition, open_marts(get_settings()).version.id))
        return {"outcome": "written"}

    monkeypatch.setattr(readmitted, "materialize_features", materialize)
    assert shopwright("quarantine", "readmit", *entry, "--file", file) == EXIT_OK

    marts = open_marts(get_settings())
    assert content(marts.version.parts) == expected
    assert count("select count(*) from fct_orders where not is_complete") == 0
    assert materialized == [(DAY, marts.version.id)]
    unbalanced = "rows_in <> rows_published + rows_quarantined + rows_collapsed"
    assert count(f"select count(*) from fct_row_conservation where {unbalanced}") == 0  # noqa: S608
    of_lines = "from fct_row_conservation where table_name = 'order_lines'"
    delivered = len(delivered_lines(wrong))
    assert count(f"select sum(rows_published + rows_collapsed) {of_lines}") == delivered
    assert count(f"select sum(rows_in) - {PLANTED} {of_lines}") == delivered

    capsys.readouterr()
    assert shopwright("quarantine", "readmit", *entry, "--file", file) == EXIT_OK
    assert "need no rebuild" in capsys.readouterr().out
    assert open_marts(get_settings()).version.id == marts.version.id


def delivered_lines(shop: Path) -> list[object]:
    return [row for path in sorted((shop / "order_lines").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
