"""What a shop's data suffices for, on tables small enough to be counted by hand."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from ml.cli.shop_sufficiency import Sufficiency, held_at_build, judge_products, span_of
from ml.settings import Settings
from ml.shop.contract import CONTRACT

MONDAY = datetime(2024, 7, 1, 12, tzinfo=UTC)


@pytest.fixture
def settings() -> Settings:
    return Settings(_env_file=None, timezone="UTC", closed_days=("07-07",))


def table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=CONTRACT[name].schema)


def orders_on(*days: int, customer: str | None = "ann") -> list[dict[str, Any]]:
    return [
        {"order_id": f"{customer}{day}", "customer_id": customer, "ordered_at": MONDAY + timedelta(days=day)}
        for day in days
    ]


def of(found: list[Sufficiency], product: str) -> Sufficiency:
    return next(each for each in found if each.product == product)


def test_days_without_orders_are_told_and_closed_ones_are_not(settings: Settings) -> None:
    span = span_of(settings, table("orders", orders_on(0, 1, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13)))
    assert span is not None
    assert (span.first_day, span.last_day) == (date(2024, 7, 1), date(2024, 7, 14))
    assert span.missing == (date(2024, 7, 3),), "7 July is called closed"
    assert span.sentences()[1].startswith("1 other days without orders: 2024-07-03")


def test_a_weekday_that_is_never_there_is_a_closing_day(settings: Settings) -> None:
    span = span_of(settings, table("orders", orders_on(0, 1, 3, 4, 5, 7, 8, 10, 11, 12, 13)))
    assert span is not None
    assert 'set SHOPWRIGHT_CLOSED_DAYS=["wednesday"]' in span.sentences()[1]


def test_without_an_order_there_are_no_days(settings: Settings) -> None:
    assert span_of(settings, table("orders", [])) is None


def shop_of(customers: int, weeks: int) -> dict[str, pa.Table]:
    """Everybody buys each of ten products every Monday and Thursday."""
    names = [f"c{number}" for number in range(customers)]
    days = [7 * week + day for week in range(weeks) for day in (0, 3)] + [7 * weeks - 1]
    orders = [order for name in names for order in orders_on(*days, customer=name)]
    lines = [
        {"order_line_id": f"{o['order_id']}-{p}", "order_id": o["order_id"], "product_id": f"p{p}", "quantity": 1.0}
        for o in orders
        for p in range(10)
    ]
    products = [{"product_id": f"p{number}", "is_merchandise": True} for number in range(10)]
    return {
        "customers": table("customers", [{"customer_id": name} for name in names]),
        "products": table("products", products),
        "orders": table("orders", orders),
        "order_lines": table("order_lines", lines),
    }


def test_four_weeks_of_ten_regulars_are_enough_for_recommendations(settings: Settings) -> None:
    found = of(judge_products(settings, shop_of(10, 4)), "recommendations")
    assert found.is_enough
    assert found.figures[0] == "2 label weeks"
    assert "a baseline will serve" in found.notes[0]


def test_three_weeks_or_nine_regulars_are_not(settings: Settings) -> None:
    [reason] = of(judge_products(settings, shop_of(10, 3)), "recommendations").against
    assert reason.startswith("1 whole weeks (Monday to Sunday) after the first 14 days; 2 are needed")
    assert of(judge_products(settings, shop_of(9, 4)), "recommendations").against == (
        "9 customers with 5 or more shopping days; 10 are needed",
    )


def test_what_cannot_be_read_is_the_reason(settings: Settings) -> None:
    tables = shop_of(10, 4)
    del tables["products"]
    assert of(judge_products(settings, tables), "recommendations").against == ("products cannot be read",)


def test_fraud_needs_payments_and_chargebacks_of_them(settings: Settings) -> None:
    tables = {"orders": table("orders", [])}
    assert of(judge_products(settings, tables), "fraud").against == ("there are no payments and no chargebacks",)
    tables["payments"] = table("payments", [{"payment_id": f"{n}", "order_id": f"{n}"} for n in range(1_000)])
    tables["chargebacks"] = table(
        "chargebacks", [{"chargeback_id": f"{n}", "order_id": f"{n + 951}"} for n in range(50)]
    )
    assert of(judge_products(settings, tables), "fraud").against == (
        "49 chargebacks of paid orders; 50 are needed to learn from",
    )
    tables["chargebacks"] = table("chargebacks", [{"chargeback_id": f"{n}", "order_id": f"{n}"} for n in range(50)])
    assert of(judge_products(settings, tables), "fraud").is_enough


def test_messages_need_an_address_and_the_newest_consent(settings: Settings) -> None:
    tables = {"customers": table("customers", [{"customer_id": "ann", "email": "ann@example.com"}])}
    assert of(judge_products(settings, tables), "messages").against == (
        "there are no consents: nobody may be written to",
    )
    consent = {"customer_id": "ann", "purpose": "marketing", "changed_at": MONDAY, "is_granted": True}
    tables["consents"] = table("consents", [consent])
    assert of(judge_products(settings, tables), "messages").is_enough
    withdrawn = consent | {"changed_at": MONDAY + timedelta(days=1), "is_granted": False}
    tables["consents"] = table("consents", [withdrawn, consent])
    assert not of(judge_products(settings, tables), "messages").is_enough


def test_rows_that_refer_to_nothing_are_counted_and_guests_are_not() -> None:
    tables = {
        "customers": table("customers", [{"customer_id": "ann"}]),
        "orders": table("orders", orders_on(0) + orders_on(1, 2, customer="bob") + orders_on(3, customer=None)),
    }
    assert held_at_build(tables) == ["orders: 2 rows whose customer_id is not in customers"]
