"""What is sold, and to whom."""

from datetime import time

from ml.shop.contract.columns import CURRENCY, cents, identifier, moment, text
from ml.shop.contract.table import Column, ColumnType, Table, TableKind

PRODUCTS = Table(
    "products",
    TableKind.ENTITY,
    "One row per product of the shop.",
    key=("product_id",),
    columns=(
        identifier("product_id", "The product."),
        text("name", "What a person calls the product."),
        text("brand", "Brand or brand class."),
        text("department", "Widest level of the shop's own product tree."),
        text("category", "Middle level of the shop's own product tree."),
        text("subcategory", "Narrowest level of the shop's own product tree."),
        identifier("manufacturer_id", "Who makes the product.", nullable=True),
        text("package_size", "Size of one package, as printed."),
        Column(
            "is_merchandise",
            ColumnType.BOOL,
            "Whether the product is something to recommend; false for fuel, coupons, fees, store supplies.",
        ),
    ),
    required=True,
    expected_by=time(6),
    max_age_days=7,
)

ORDERS = Table(
    "orders",
    TableKind.EVENT,
    "One row per order (basket, receipt).",
    key=("order_id",),
    event_time="ordered_at",
    columns=(
        identifier("order_id", "The order."),
        identifier("customer_id", "The customer; null for a guest's order.", nullable=True, personal=True),
        moment("ordered_at", "When the order was placed"),
        identifier("store_id", "Store, site or sales channel.", nullable=True),
        cents("total_amount_cents", "What the customer paid for the order", nullable=True),
        CURRENCY,
    ),
    required=True,
    may_be_empty=False,
    expected_by=time(6),
    max_age_days=1,
)

ORDER_LINES = Table(
    "order_lines",
    TableKind.EVENT,
    "One row per product in an order.",
    key=("order_line_id",),
    event_time="ordered_at",
    columns=(
        identifier("order_line_id", "The line."),
        identifier("order_id", "The order that the line belongs to."),
        identifier("product_id", "The product bought."),
        moment("ordered_at", "When the order was placed"),
        Column("quantity", ColumnType.FLOAT64, "Units bought (pieces, or the unit the product is sold by).", above=0),
        cents("amount_cents", "What the customer paid for the line, after discounts"),
        cents("discount_cents", "Discounts given on the line", nullable=True),
        CURRENCY,
    ),
    required=True,
    may_be_empty=False,
    expected_by=time(6),
    max_age_days=1,
)
