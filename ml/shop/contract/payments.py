"""How orders are paid, and what became known about fraud."""

from ml.shop.contract.columns import CURRENCY, PERSONAL, cents, identifier, moment, text
from ml.shop.contract.table import Column, ColumnType, Table, TableKind

PAYMENTS = Table(
    "payments",
    TableKind.EVENT,
    "One row per attempt to pay an order; an order is judged by its first attempt.",
    key=("payment_id",),
    event_time="attempted_at",
    columns=(
        identifier("payment_id", "The attempt."),
        identifier("order_id", "The order paid."),
        moment("attempted_at", "When it was tried"),
        text("instrument_hash", "Keyed hash of the card or account.", tags=PERSONAL),
        text("device_hash", "Keyed hash of the device or browser.", tags=PERSONAL),
        text("ip_hash", "Keyed hash of the network address.", tags=PERSONAL),
        text("ip_country", "ISO 3166 country of the network address.", tags=PERSONAL),
        text("shipping_address_hash", "Keyed hash of the address shipped to.", tags=PERSONAL),
        text("billing_address_hash", "Keyed hash of the payer's address.", tags=PERSONAL),
        text("email_domain", "What follows the @ of the customer's e-mail address."),
        moment("account_created_at", "When the customer's account was opened", nullable=True),
        text("channel", "How the order was placed: web, app, store, phone."),
        identifier("terminal_id", "The point of sale.", nullable=True),
        cents("amount_cents", "Amount"),
        CURRENCY,
        Column("outcome", ColumnType.STRING, "How it ended.", allowed=("approved", "declined", "failed")),
    ),
)

CHARGEBACKS = Table(
    "chargebacks",
    TableKind.EVENT,
    "One row per chargeback; it became known at `reported_at`.",
    key=("chargeback_id",),
    event_time="reported_at",
    columns=(
        identifier("chargeback_id", "The chargeback."),
        identifier("order_id", "The order disputed."),
        moment("reported_at", "When the shop learnt of it"),
        text("reason", "Reason code of the card network."),
        Column(
            "is_fraud",
            ColumnType.BOOL,
            "Whether fraud is what is claimed; false for goods not received and the like, null counts as fraud.",
            nullable=True,
        ),
        cents("amount_cents", "Amount disputed", nullable=True),
        CURRENCY,
    ),
)

REFUNDS = Table(
    "refunds",
    TableKind.EVENT,
    "One row per refund that the shop gave; it became known at `refunded_at`.",
    key=("refund_id",),
    event_time="refunded_at",
    columns=(
        identifier("refund_id", "The refund."),
        identifier("order_id", "The order refunded."),
        moment("refunded_at", "When it was given"),
        text("reason", "Why; `fraud` says that the shop took the order for fraud."),
        cents("amount_cents", "Amount refunded", nullable=True),
        CURRENCY,
    ),
)

FRAUD_DECISIONS = Table(
    "fraud_decisions",
    TableKind.EVENT,
    "One row per decision on an order, by Shopwright (its decision log flows back) or by what ran before it.",
    key=("decision_id",),
    event_time="decided_at",
    columns=(
        identifier("decision_id", "The decision."),
        identifier("order_id", "The order decided on."),
        moment("decided_at", "When it was decided"),
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
        text("model_version", "The model that scored."),
        text("policy_version", "The policy that decided."),
    ),
)

FRAUD_REVIEWS = Table(
    "fraud_reviews",
    TableKind.EVENT,
    "One row per analyst's decision on an order; it became known at `decided_at`.",
    key=("review_id",),
    event_time="decided_at",
    columns=(
        identifier("review_id", "The review."),
        identifier("order_id", "The order reviewed."),
        moment("decided_at", "When the analyst decided"),
        Column("verdict", ColumnType.STRING, "What the analyst found.", allowed=("fraud", "legitimate")),
        text("analyst", "Who decided.", tags=PERSONAL),
    ),
)
