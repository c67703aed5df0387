"""Who buys: what the shop knows of them, and what they agreed to."""

from datetime import time

from ml.shop.contract.columns import AUDIT, CUSTOMER_ID, PERSONAL, moment, text
from ml.shop.contract.table import Column, ColumnType, Table, TableKind

CUSTOMERS = Table(
    "customers",
    TableKind.ENTITY,
    "One row per customer of the shop.",
    key=("customer_id",),
    columns=(
        CUSTOMER_ID,
        moment("registered_at", "When the customer first became known to the shop", nullable=True),
        text("email", "E-mail address.", tags=PERSONAL),
        text("country", "ISO 3166 country code.", tags=PERSONAL),
    ),
    required=True,
    expected_by=time(6),
    max_age_days=7,
)

DEMOGRAPHICS = Table(
    "demographics",
    TableKind.ENTITY,
    "One row per customer who told the shop about themselves. Audit only: never a model feature.",
    key=("customer_id",),
    columns=(
        CUSTOMER_ID,
        text("age_band", "Age band.", tags=AUDIT),
        text("income_band", "Income band of the household.", tags=AUDIT),
        text("gender", "Gender, as stated.", tags=AUDIT),
        text("marital_status", "Marital status.", tags=AUDIT),
        text("home_ownership", "Home owner or tenant.", tags=AUDIT),
        text("household_size", "Persons in the household, as a band.", tags=AUDIT),
        text("household_composition", "Adults and children in the household.", tags=AUDIT),
        text("children_count", "Children in the household, as a band.", tags=AUDIT),
    ),
)

CONSENTS = Table(
    "consents",
    TableKind.EVENT,
    "One row per change of a customer's consent.",
    key=("customer_id", "purpose", "changed_at"),
    event_time="changed_at",
    columns=(
        CUSTOMER_ID,
        Column("purpose", ColumnType.STRING, "What the consent is for.", allowed=("marketing", "profiling")),
        moment("changed_at", "When the customer decided"),
        Column("is_granted", ColumnType.BOOL, "Whether the customer agreed."),
    ),
)
