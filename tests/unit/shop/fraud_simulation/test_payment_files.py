"""A generated shop can be given payments."""

from datetime import date, timedelta

import pytest
from click.testing import CliRunner

from ml.cli.shop import shop
from ml.shop.contract import CONTRACT
from ml.shop.files import FilesSource

FIRST = date(2017, 3, 1)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "shop"


def generate(folder, *more):
    asked = ["generate", str(folder), "--first-day", str(FIRST), "--days", "40", *more]
    return CliRunner().invoke(shop, asked)


def test_payments_lie_beside_the_orders_and_are_called_simulated(folder, configure):
    told = generate(folder, "--payments", "--fraud-rate", "0.1")
    assert told.exit_code == 0
    assert "simulated payments" in told.output
    source = FilesSource(configure(source="files", files_dir=folder, first_day=FIRST))
    assert {"payments", "chargebacks", "refunds"} <= set(source.tables())
    end = FIRST + timedelta(days=40)
    read = {table: source.read(table, FIRST, end).rows for table in ("orders", "payments", "chargebacks", "refunds")}
    assert set(read["payments"].column("order_id").to_pylist()) == set(read["orders"].column("order_id").to_pylist())
    for table in ("payments", "chargebacks", "refunds"):
        assert read[table].num_rows > 0
        assert read[table].schema == CONTRACT[table].schema
    hours = {moment.hour for moment in read["chargebacks"].column("reported_at").to_pylist()}
    assert hours <= {15, 16, 17}, "daytime in New York and Berlin, as all else in a generated shop"


def test_a_shop_has_no_payments_unless_asked_for(folder):
    assert generate(folder).exit_code == 0
    assert not (folder / "payments").exists()


def test_the_second_shape_takes_no_payments(folder):
    told = generate(folder, "--second", "--payments")
    assert told.exit_code == 2
    assert "leave --second out" in told.output
    assert not folder.exists()
