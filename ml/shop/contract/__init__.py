"""The shop contract: the tables that any shop must or may supply.

What differs between shops is an attribute that the source fills (`products.is_merchandise`, `orders.store_id`), never
a name in our code.
"""

from ml.shop.contract.customers import CONSENTS, CUSTOMERS, DEMOGRAPHICS
from ml.shop.contract.marketing import CAMPAIGNS, COUPON_REDEMPTIONS, COUPONS, EXPOSURES, INTERACTIONS, PROMOTIONS
from ml.shop.contract.payments import CHARGEBACKS, FRAUD_DECISIONS, FRAUD_REVIEWS, PAYMENTS, REFUNDS
from ml.shop.contract.sales import ORDER_LINES, ORDERS, PRODUCTS
from ml.shop.contract.table import Column, ColumnType, Table

CONTRACT_VERSION = 5

# Columns that any table may carry beside its own.
RESERVED_COLUMNS = (
    Column(
        "updated_at",
        ColumnType.TIMESTAMP,
        "When the source last changed the row (UTC); the newest wins.",
        nullable=True,
    ),
    Column(
        "_op",
        ColumnType.STRING,
        "What the row does to its key; absent means upsert.",
        nullable=True,
        allowed=("upsert", "delete"),
    ),
)

_TABLES = (
    CUSTOMERS,
    PRODUCTS,
    ORDERS,
    ORDER_LINES,
    DEMOGRAPHICS,
    PROMOTIONS,
    CAMPAIGNS,
    COUPONS,
    COUPON_REDEMPTIONS,
    INTERACTIONS,
    EXPOSURES,
    PAYMENTS,
    CHARGEBACKS,
    REFUNDS,
    FRAUD_DECISIONS,
    FRAUD_REVIEWS,
    CONSENTS,
)

CONTRACT: dict[str, Table] = {table.name: table for table in _TABLES}
REQUIRED_TABLES = tuple(table.name for table in _TABLES if table.required)
