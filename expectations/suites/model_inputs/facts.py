"""What is measured of every training set, whatever product learns from it, and the rules about that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from great_expectations.expectations.expectation import Expectation

from expectations.suites.measured import fact_between

ROWS = "rows"
DUPLICATES = "duplicates"
LABEL_SHARE = "label_share"
LABEL_CLASSES = "label_classes"
MISSING_COLUMNS = "missing_columns"
AUDIT_COLUMNS = "audit_columns"
LARGEST_NULL_SHARE = "largest_null_share"
LABEL_STRANGERS = "label_strangers"


@dataclass(frozen=True)
class ModelInputConfig:
    """What a training set has to satisfy.

    Attributes:
        features: Columns that the model is fed.
        product: Whose training set it is; it chooses the suite.
        key: Columns that name a row, together with `cut` where `has_cuts`.
        cut: Column with the moment or day that a row's features are of.
        has_cuts: The same key may come once for each cut.
        label: 0 or 1.
        forbidden: Columns that may not be there, beside the contract's audit-only ones.
        largest_null_share: Share of nulls that a feature may have at most.
        not_supplied: Features of an attribute that the shop does not have: they may be null in every row.
        facts: More facts of the product's own: name -> SQL aggregate over the training set.
    """

    features: tuple[str, ...]
    product: str = "recommender"
    key: tuple[str, ...] = ("customer_id", "product_id")
    cut: str = "as_of_date"
    has_cuts: bool = True
    label: str = "label"
    fewest_rows: int = 100
    label_share: tuple[float, float] = (0.001, 0.6)
    largest_null_share: float = 0.99
    forbidden: Sequence[str] = field(default=())
    not_supplied: frozenset[str] = frozenset()
    facts: Mapping[str, str] = field(default_factory=dict)


def structure_rules() -> list[Expectation]:
    """Every column of the model, and none that only measures whether groups are treated alike."""
    return [
        fact_between(MISSING_COLUMNS, "columns_present", "0 of the model's columns missing", high=0),
        fact_between(AUDIT_COLUMNS, "no_audit_columns", "0 audit-only columns", high=0),
    ]


def label_rules(config: ModelInputConfig, counted: str) -> list[Expectation]:
    """Both outcomes, in a share that can be true.

    Args:
        counted: What a label of 1 says of a row, such as "bought".
    """
    low, high = config.label_share
    return [
        fact_between(LABEL_STRANGERS, "label_values", "0 rows whose label is not 0 or 1", high=0),
        fact_between(LABEL_CLASSES, "label_classes", "both labels, 0 and 1", low=2, high=2),
        fact_between(LABEL_SHARE, "label_share", f"{low:.2%} to {high:.0%} of rows {counted}", low=low, high=high),
    ]
