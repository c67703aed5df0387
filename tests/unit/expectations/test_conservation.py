"""What becomes of each row: dated, hashed, collapsed, counted."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from expectations.casting import conform_typed
from expectations.conservation import assert_conserved, collapse_duplicates, count_late, with_bookkeeping
from ml.outcomes import ToolFailed
from ml.shop.contract import CONTRACT
from ml.stores.raw import raw_schema

ORDERS = CONTRACT["orders"]
COUPONS = CONTRACT["coupons"]
NEW_YORK = ZoneInfo("America/New_York")
DAY = date(2024, 1, 5)


def at(hour, day=5):
    return datetime(2024, 1, day, hour, tzinfo=UTC)


def order(order_id="o1", ordered_at=None, amount=100, **other):
    return {"order_id": order_id, "customer_id": "c1", "ordered_at": ordered_at or at(15), "store_id": None} | {
        "total_amount_cents": amount,
        "currency": "USD",
        **other,
    }


def booked(*rows, table=ORDERS):
    names = [*table.schema.names, "updated_at", "_op"]
    schema = pa.schema([raw_schema(table).field(name) for name in names])
    delivered = pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows], schema=schema)
    return with_bookkeeping(table, conform_typed(table, delivered).rows, "2024-01-05.1d.x", DAY, NEW_YORK)


def test_the_event_day_is_the_shop_s_own():
    rows = booked(order("late", at(4)), order("early", at(5)))
    assert rows.column("_event_date").to_pylist() == [date(2024, 1, 4), date(2024, 1, 5)]


def test_rows_have_raw_s_columns():
    assert booked(order()).schema == raw_schema(ORDERS)
    assert booked(order()).column("_batch_date").to_pylist() == [DAY]


def test_an_entity_holds_from_the_day_of_its_batch():
    rows = booked({"coupon_id": "u", "campaign_id": "g", "product_id": "p"}, table=COUPONS)
    assert rows.column("_event_date").to_pylist() == [DAY]


def test_equal_content_has_equal_hashes_whatever_the_bookkeeping():
    one, same, other = booked(order(), order(updated_at=at(16)), order(amount=101)).column("_row_hash").to_pylist()
    assert one == same != other
    assert len(one) == 16


def test_fields_do_not_run_into_each_other():
    rows = booked(
        {"coupon_id": "ab", "campaign_id": "c", "product_id": "p"},
        {"coupon_id": "a", "campaign_id": "bc", "product_id": "p"},
        table=COUPONS,
    )
    assert len(set(rows.column("_row_hash").to_pylist())) == 2


def test_of_one_key_the_newest_change_stays():
    rows = booked(order(amount=1, updated_at=at(16)), order(amount=2, updated_at=at(18)), order(amount=3))
    assert collapse_duplicates(ORDERS, rows).column("total_amount_cents").to_pylist() == [2]


def test_without_a_change_time_the_content_decides_in_any_order():
    one, other = order(amount=1), order(amount=2)
    kept = [
        collapse_duplicates(ORDERS, booked(*pair)).column("_row_hash").to_pylist()
        for pair in ((one, other), (other, one))
    ]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 1


@pytest.mark.parametrize("amounts", [(1, 2), (2, 1)])  # whichever of the two has the larger content hash
def test_of_equally_new_changes_a_delete_stays(amounts):
    rows = booked(order(amount=amounts[0], _op="delete"), order(amount=amounts[1], _op="upsert"))
    assert collapse_duplicates(ORDERS, rows).column("_op").to_pylist() == ["delete"]


def test_a_key_is_all_of_its_columns_and_order_is_kept():
    first, second = ({"coupon_id": "u", "campaign_id": "g", "product_id": name} for name in ("z", "a"))
    kept = collapse_duplicates(COUPONS, booked(first, second, first, table=COUPONS))
    assert kept.column("product_id").to_pylist() == ["z", "a"]


def test_late_rows_are_counted_before_the_first_day():
    rows = booked(order("a", at(15, day=2)), order("b", at(15, day=4)), order("c", at(15, day=5)))
    assert count_late(ORDERS, rows, DAY) == 2
    assert count_late(ORDERS, rows, date(2024, 1, 4)) == 1
    assert count_late(COUPONS, booked(table=COUPONS), DAY) == 0


def test_a_lost_row_is_the_tool_s_failure():
    assert_conserved("orders", "b", 10, 7, 2, 1)
    with pytest.raises(ToolFailed, match="10 rows in, but 7 accepted"):
        assert_conserved("orders", "b", 10, 7, 2, 0)
