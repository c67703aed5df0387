"""The shop contract: the tables that any shop must or may supply.

An *event* table has a key and an event time. An *entity* table has a key; each batch of it is a full
snapshot or a set of changes, valid from the day on which it arrived. What differs between shops is an
attribute that the source fills (`products.is_merchandise`, `orders.store_id`), never a name in our code.
"""

from dataclasses import dataclass
from datetime import time
from enum import StrEnum

import pyarrow as pa

CONTRACT_VERSION = 4


class TableKind(StrEnum):
    EVENT = "event"
    ENTITY = "entity"


class Tag(StrEnum):
    PERSONAL = "personal"
    """Identifies or describes a person: masked wherever it is shown, covered by erasure."""
    AUDIT_ONLY = "audit_only"
    """Only for measuring whether groups are treated alike: may never become a model feature."""


class ColumnType(StrEnum):
    STRING = "string"
    INT64 = "int64"
    FLOAT64 = "float64"
    BOOL = "bool"
    DATE = "date"
    TIMESTAMP = "timestamp"

    @property
    def arrow(self) -> pa.DataType:
        return _ARROW_TYPES[self]


_ARROW_TYPES = {
    ColumnType.STRING: pa.string(),
    ColumnType.INT64: pa.int64(),
    ColumnType.FLOAT64: pa.float64(),
    ColumnType.BOOL: pa.bool_(),
    ColumnType.DATE: pa.date32(),
    # Microseconds: nanoseconds break Feast's materialization on DuckDB 2.0 (seen 2026-11).
    ColumnType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True)
class Column:
    """One column of a contract table.

    Attributes:
        minimum: Smallest allowed value, inclusive; `above` is the exclusive form.
        is_amount: The column is money in integer cents of the row's currency.
        may_be_absent: The source may leave the whole column out; it is then filled with nulls.
    """

    name: str
    type: ColumnType
    description: str
    nullable: bool = False
    minimum: float | None = None
    above: float | None = None
    allowed: tuple[str, ...] = ()
    is_amount: bool = False
    tags: frozenset[Tag] = frozenset()

    @property
    def may_be_absent(self) -> bool:
        return self.nullable


@dataclass(frozen=True)
class Table:
    """One table of the contract.

    Attributes:
        key: Columns that identify a row.
        event_time: Column that places a row in time (event tables only).
        may_be_empty: A day without rows is normal, so an empty batch passes.
        quarantine_budget: Largest share of a batch's rows that row rules may set aside before the batch is held.
        expected_by: Shop-local time by which a day's batch arrives on the day after; None when there is no such time.
        max_age_days: Largest age of the newest delivered day, in days of the wall clock; None when any age will do.
    """

    name: str
    kind: TableKind
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    event_time: str | None = None
    required: bool = False
    may_be_empty: bool = True
    quarantine_budget: float = 0.05
    expected_by: time | None = None
    max_age_days: int | None = None

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of accepted rows, without the reserved columns."""
        return pa.schema([pa.field(column.name, column.type.arrow) for column in self.columns])


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

_PERSONAL = frozenset({Tag.PERSONAL})
_AUDIT = frozenset({Tag.PERSONAL, Tag.AUDIT_ONLY})


def _id(name: str, description: str, *, nullable: bool = False, personal: bool = False) -> Column:
    return Column(name, ColumnType.STRING, description, nullable=nullable, tags=_PERSONAL if personal else frozenset())


def _text(name: str, description: str, *, allowed: tuple[str, ...] = (), tags: frozenset[Tag] = frozenset()) -> Column:
    return Column(name, ColumnType.STRING, description, nullable=True, allowed=allowed, tags=tags)


def _at(name: str, description: str, *, nullable: bool = False) -> Column:
    return Column(name, ColumnType.TIMESTAMP, f"{description} (UTC).", nullable=nullable)


def _cents(name: str, description: str, *, nullable: bool = False) -> Column:
    return Column(
        name, ColumnType.INT64, f"{description}, in cents of `currency`.", nullable=nullable, minimum=0, is_amount=True
    )


_CURRENCY = Column("currency", ColumnType.STRING, "ISO 4217 code; must be the shop's settlement currency.")
_CUSTOMER_ID = _id("customer_id", "The customer.", personal=True)

_TABLES = (
    Table(
        "customers",
        TableKind.ENTITY,
        "One row per customer of the shop.",
        key=("customer_id",),
        columns=(
            _CUSTOMER_ID,
            _at("registered_at", "When the customer first became known to the shop", nullable=True),
            _text("email", "E-mail address.", tags=_PERSONAL),
            _text("country", "ISO 3166 country code.", tags=_PERSONAL),
        ),
        required=True,
        expected_by=time(6),
        max_age_days=7,
    ),
    Table(
        "products",
        TableKind.ENTITY,
        "One row per product of the shop.",
        key=("product_id",),
        columns=(
            _id("product_id", "The product."),
            _text("name", "What a person calls the product."),
            _text("brand", "Brand or brand class."),
            _text("department", "Widest level of the shop's own product tree."),
            _text("category", "Middle level of the shop's own product tree."),
            _text("subcategory", "Narrowest level of the shop's own product tree."),
            _id("manufacturer_id", "Who makes the product.", nullable=True),
            _text("package_size", "Size of one package, as printed."),
            Column(
                "is_merchandise",
                ColumnType.BOOL,
                "Whether the product is something to recommend; false for fuel, coupons, fees, store supplies.",
            ),
        ),
        required=True,
        expected_by=time(6),
        max_age_days=7,
    ),
    Table(
        "orders",
        TableKind.EVENT,
        "One row per order (basket, receipt).",
        key=("order_id",),
        event_time="ordered_at",
        columns=(
            _id("order_id", "The order."),
            _id("customer_id", "The customer; null for a guest's order.", nullable=True, personal=True),
            _at("ordered_at", "When the order was placed"),
            _id("store_id", "Store, site or sales channel.", nullable=True),
            _cents("total_amount_cents", "What the customer paid for the order", nullable=True),
            _CURRENCY,
        ),
        required=True,
        may_be_empty=False,
        expected_by=time(6),
        max_age_days=1,
    ),
    Table(
        "order_lines",
        TableKind.EVENT,
        "One row per product in an order.",
        key=("order_line_id",),
        event_time="ordered_at",
        columns=(
            _id("order_line_id", "The line."),
            _id("order_id", "The order that the line belongs to."),
            _id("product_id", "The product bought."),
            _at("ordered_at", "When the order was placed"),
            Column(
                "quantity", ColumnType.FLOAT64, "Units bought (pieces, or the unit the product is sold by).", above=0
            ),
            _cents("amount_cents", "What the customer paid for the line, after discounts"),
            _cents("discount_cents", "Discounts given on the line", nullable=True),
            _CURRENCY,
        ),
        required=True,
        may_be_empty=False,
        expected_by=time(6),
        max_age_days=1,
    ),
    Table(
        "demographics",
        TableKind.ENTITY,
        "One row per customer who told the shop about themselves. Audit only: never a model feature.",
        key=("customer_id",),
        columns=(
            _CUSTOMER_ID,
            _text("age_band", "Age band.", tags=_AUDIT),
            _text("income_band", "Income band of the household.", tags=_AUDIT),
            _text("gender", "Gender, as stated.", tags=_AUDIT),
            _text("marital_status", "Marital status.", tags=_AUDIT),
            _text("home_ownership", "Home owner or tenant.", tags=_AUDIT),
            _text("household_size", "Persons in the household, as a band.", tags=_AUDIT),
            _text("household_composition", "Adults and children in the household.", tags=_AUDIT),
            _text("children_count", "Children in the household, as a band.", tags=_AUDIT),
        ),
    ),
    Table(
        "promotions",
        TableKind.EVENT,
        "One row per product, store and start of a promotion.",
        key=("product_id", "store_id", "starts_at"),
        event_time="starts_at",
        columns=(
            _id("product_id", "The product promoted."),
            _id("store_id", "The store where it is promoted."),
            _at("starts_at", "First moment of the promotion"),
            _at("ends_at", "First moment after the promotion"),
            _text("display_location", "Where in the store the product is displayed; null for nowhere."),
            _text("mailer_location", "Where in the mailer the product is shown; null for nowhere."),
        ),
    ),
    Table(
        "campaigns",
        TableKind.ENTITY,
        "One row per marketing campaign.",
        key=("campaign_id",),
        columns=(
            _id("campaign_id", "The campaign."),
            _text("campaign_type", "The shop's own kind of campaign."),
            Column("starts_on", ColumnType.DATE, "First day, shop-local."),
            Column("ends_on", ColumnType.DATE, "Last day, shop-local.", nullable=True),
        ),
    ),
    Table(
        "coupons",
        TableKind.ENTITY,
        "One row per coupon, campaign and product that it is valid for.",
        key=("coupon_id", "campaign_id", "product_id"),
        columns=(
            _id("coupon_id", "The coupon."),
            _id("campaign_id", "The campaign that issued it."),
            _id("product_id", "A product that it is valid for."),
        ),
    ),
    Table(
        "coupon_redemptions",
        TableKind.EVENT,
        "One row per customer, coupon, campaign and moment of redemption.",
        key=("customer_id", "coupon_id", "campaign_id", "redeemed_at"),
        event_time="redeemed_at",
        columns=(
            _CUSTOMER_ID,
            _id("coupon_id", "The coupon."),
            _id("campaign_id", "The campaign that issued it."),
            _at("redeemed_at", "When it was redeemed"),
        ),
    ),
    Table(
        "interactions",
        TableKind.EVENT,
        "One row per thing that a visitor did or was shown.",
        key=("interaction_id",),
        event_time="occurred_at",
        columns=(
            _id("interaction_id", "The interaction."),
            _CUSTOMER_ID,
            _id("product_id", "The product."),
            _at("occurred_at", "When it happened"),
            Column(
                "interaction_type",
                ColumnType.STRING,
                "What happened.",
                allowed=("view", "click", "cart", "purchase", "impression"),
            ),
            _id("exposure_id", "The exposure that it followed, where the shop knows.", nullable=True),
        ),
    ),
    Table(
        "exposures",
        TableKind.EVENT,
        "One row per product that a customer was shown as recommended, by Shopwright (its log flows back) or by what "
        "ran before it.",
        key=("exposure_id", "rank"),
        event_time="shown_at",
        columns=(
            _id("exposure_id", "The answer that was shown."),
            Column("rank", ColumnType.INT64, "Place of the product in it, from 1.", above=0),
            _CUSTOMER_ID,
            _id("product_id", "The product."),
            _at("shown_at", "When it was answered"),
            _text("placement", "Where it was shown, in the shop's own words."),
            Column(
                "step",
                ColumnType.STRING,
                "Where the answer came from.",
                allowed=("personal", "batch", "segment", "popular", "static"),
            ),
            _text("model_version", "The model that ranked."),
            _text("policy_version", "The rule of exploration."),
            Column(
                "propensity",
                ColumnType.FLOAT64,
                "Chance, when it was shown, of this product at this place.",
                nullable=True,
                minimum=0,
            ),
            Column("is_explored", ColumnType.BOOL, "Whether the answer's products were drawn, to learn from them."),
        ),
    ),
    Table(
        "payments",
        TableKind.EVENT,
        "One row per attempt to pay an order; an order is judged by its first attempt.",
        key=("payment_id",),
        event_time="attempted_at",
        columns=(
            _id("payment_id", "The attempt."),
            _id("order_id", "The order paid."),
            _at("attempted_at", "When it was tried"),
            _text("instrument_hash", "Keyed hash of the card or account.", tags=_PERSONAL),
            _text("device_hash", "Keyed hash of the device or browser.", tags=_PERSONAL),
            _text("ip_hash", "Keyed hash of the network address.", tags=_PERSONAL),
            _text("ip_country", "ISO 3166 country of the network address.", tags=_PERSONAL),
            _text("shipping_address_hash", "Keyed hash of the address shipped to.", tags=_PERSONAL),
            _text("billing_address_hash", "Keyed hash of the payer's address.", tags=_PERSONAL),
            _text("email_domain", "What follows the @ of the customer's e-mail address."),
            _at("account_created_at", "When the customer's account was opened", nullable=True),
            _text("channel", "How the order was placed: web, app, store, phone."),
            _id("terminal_id", "The point of sale.", nullable=True),
            _cents("amount_cents", "Amount"),
            _CURRENCY,
            Column("outcome", ColumnType.STRING, "How it ended.", allowed=("approved", "declined", "failed")),
        ),
    ),
    Table(
        "chargebacks",
        TableKind.EVENT,
        "One row per chargeback; it became known at `reported_at`.",
        key=("chargeback_id",),
        event_time="reported_at",
        columns=(
            _id("chargeback_id", "The chargeback."),
            _id("order_id", "The order disputed."),
            _at("reported_at", "When the shop learnt of it"),
            _text("reason", "Reason code of the card network."),
            Column(
                "is_fraud",
                ColumnType.BOOL,
                "Whether fraud is what is claimed; false for goods not received and the like, null counts as fraud.",
                nullable=True,
            ),
            _cents("amount_cents", "Amount disputed"),
            _CURRENCY,
        ),
    ),
    Table(
        "refunds",
        TableKind.EVENT,
        "One row per refund that the shop gave; it became known at `refunded_at`.",
        key=("refund_id",),
        event_time="refunded_at",
        columns=(
            _id("refund_id", "The refund."),
            _id("order_id", "The order refunded."),
            _at("refunded_at", "When it was given"),
            _text("reason", "Why; `fraud` says that the shop took the order for fraud."),
            _cents("amount_cents", "Amount refunded"),
            _CURRENCY,
        ),
    ),
    Table(
        "fraud_decisions",
        TableKind.EVENT,
        "One row per decision on an order, by Shopwright (its decision log flows back) or by what ran before it.",
        key=("decision_id",),
        event_time="decided_at",
        columns=(
            _id("decision_id", "The decision."),
            _id("order_id", "The order decided on."),
            _at("decided_at", "When it was decided"),
            Column(
                "action",
                ColumnType.STRING,
                "What was done.",
                allowed=("approve", "challenge", "review", "decline"),
            ),
            Column("score", ColumnType.FLOAT64, "Probability of fraud.", nullable=True, minimum=0),
            Column(
                "would_decline",
                ColumnType.BOOL,
                "Whether the policy would have declined, had the order not been let through to learn its label.",
                nullable=True,
            ),
            Column(
                "propensity",
                ColumnType.FLOAT64,
                "Chance, at the time of the decision, that the order's label could become known; 0 for a decline.",
                nullable=True,
                minimum=0,
            ),
            _text("model_version", "The model that scored."),
            _text("policy_version", "The policy that decided."),
        ),
    ),
    Table(
        "fraud_reviews",
        TableKind.EVENT,
        "One row per analyst's decision on an order; it became known at `decided_at`.",
        key=("review_id",),
        event_time="decided_at",
        columns=(
            _id("review_id", "The review."),
            _id("order_id", "The order reviewed."),
            _at("decided_at", "When the analyst decided"),
            Column("verdict", ColumnType.STRING, "What the analyst found.", allowed=("fraud", "legitimate")),
            _text("analyst", "Who decided.", tags=_PERSONAL),
        ),
    ),
    Table(
        "consents",
        TableKind.EVENT,
        "One row per change of a customer's consent.",
        key=("customer_id", "purpose", "changed_at"),
        event_time="changed_at",
        columns=(
            _CUSTOMER_ID,
            Column("purpose", ColumnType.STRING, "What the consent is for.", allowed=("marketing", "profiling")),
            _at("changed_at", "When the customer decided"),
            Column("is_granted", ColumnType.BOOL, "Whether the customer agreed."),
        ),
    ),
)

CONTRACT: dict[str, Table] = {table.name: table for table in _TABLES}
REQUIRED_TABLES = tuple(table.name for table in _TABLES if table.required)
