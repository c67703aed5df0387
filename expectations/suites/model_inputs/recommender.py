"""What a training set of the recommender must be like."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from great_expectations.expectations.expectation import Expectation

from expectations.suites.measured import fact_between, measured_expectations

ROWS = "rows"
DUPLICATES = "duplicates"
LABEL_SHARE = "label_share"
LABEL_CLASSES = "label_classes"
LABEL_WEEKS = "label_weeks"
CUSTOMERS = "customers"
MISSING_COLUMNS = "missing_columns"
AUDIT_COLUMNS = "audit_columns"
LARGEST_NULL_SHARE = "largest_null_share"
LABEL_STRANGERS = "label_strangers"


@dataclass(frozen=True)
class ModelInputConfig:
    """What a training set has to satisfy.

    Attributes:
        features: Columns that the model is fed.
        cut: Column with the as-of date; one label week follows each.
        forbidden: Columns that may not be there, beside the contract's audit-only ones.
        largest_null_share: Share of nulls that a feature may have at most.
        not_supplied: Features of an attribute that the shop does not have: they may be null in every row.
    """

    features: tuple[str, ...]
    key: tuple[str, ...] = ("customer_id", "product_id")
    cut: str = "as_of_date"
    label: str = "label"
    fewest_rows: int = 100
    fewest_customers: int = 10
    fewest_label_weeks: int = 1
    label_share: tuple[float, float] = (0.001, 0.6)
    largest_null_share: float = 0.99
    forbidden: Sequence[str] = field(default=())
    not_supplied: frozenset[str] = frozenset()


def recommender(config: ModelInputConfig) -> list[Expectation]:
    """One row per customer, product and as-of date: enough of them, each once, with both outcomes and no audit data."""
    low, high = config.label_share
    return [
        fact_between(MISSING_COLUMNS, "columns_present", "0 of the model's columns missing", high=0),
        fact_between(AUDIT_COLUMNS, "no_audit_columns", "0 audit-only columns", high=0),
        fact_between(ROWS, "row_count", f"at least {config.fewest_rows:,} rows", low=config.fewest_rows),
        fact_between(
            CUSTOMERS, "customer_count", f"at least {config.fewest_customers:,} customers", low=config.fewest_customers
        ),
        fact_between(DUPLICATES, "no_duplicates", "each customer, product and as-of date once", high=0),
        fact_between(
            LABEL_WEEKS,
            "label_weeks",
            f"at least {config.fewest_label_weeks} label weeks",
            low=config.fewest_label_weeks,
        ),
        fact_between(LABEL_STRANGERS, "label_values", "0 rows whose label is not 0 or 1", high=0),
        fact_between(LABEL_CLASSES, "label_classes", "both labels, 0 and 1", low=2, high=2),
        fact_between(LABEL_SHARE, "label_share", f"{low:.2%} to {high:.0%} of rows bought", low=low, high=high),
        fact_between(
            LARGEST_NULL_SHARE,
            "feature_null_share",
            f"nulls in at most {config.largest_null_share:.0%} of each feature",
            high=config.largest_null_share,
        ),
        *measured_expectations(),
    ]
