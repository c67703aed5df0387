"""What a training set of the fraud model must be like."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from great_expectations.expectations.expectation import Expectation

from expectations.suites.measured import fact_between, measured_expectations
from expectations.suites.model_inputs import facts
from expectations.suites.model_inputs.facts import DUPLICATES, ROWS, label_rules, structure_rules

FRAUDS = "frauds"
FOLDS = "folds"
LATE_ROWS = "late_rows"
WEIGHTLESS = "weightless"


@dataclass(frozen=True)
class FraudInputConfig(facts.ModelInputConfig):
    """One row per judged order.

    How empty a feature may be is not limited: a shop may lack devices, addresses or terminals, and their features are
    then null in every row.

    Attributes:
        end: The training moment, as an SQL timestamp; nothing of it or after it may be in the set.
        label_share: A share beyond the larger one is no fraud but a flood of wrong labels.
        fewest_frauds: With fewer, a model learns single orders by heart.
    """

    product: str = "fraud"
    key: tuple[str, ...] = ("order_id",)
    cut: str = "attempted_at"
    has_cuts: bool = False
    label: str = "is_fraud"
    fewest_rows: int = 500
    fewest_frauds: int = 20
    label_share: tuple[float, float] = (0.0001, 0.3)
    end: str = "9999-12-31"
    facts: Mapping[str, str] = field(
        default_factory=lambda: {
            FRAUDS: "count(*) filter (is_fraud::int = 1)",
            FOLDS: "count(distinct fold) filter (is_fraud::int = 1 and fold in ('train', 'calibration', 'test'))",
            LATE_ROWS: "count(*) filter (attempted_at >= timestamptz '{end}')",
            WEIGHTLESS: "count(*) filter (not coalesce(weight >= 0 and isfinite(weight), false))",
        }
    )


def fraud(config: FraudInputConfig) -> list[Expectation]:
    """One row per judged order: enough of them, each once, none of the future, both outcomes in each fold."""
    return [
        *structure_rules(),
        fact_between(ROWS, "row_count", f"at least {config.fewest_rows:,} rows", low=config.fewest_rows),
        fact_between(DUPLICATES, "no_duplicates", "each order once", high=0),
        fact_between(LATE_ROWS, "no_later_rows", "0 orders at or after the training moment", high=0),
        fact_between(WEIGHTLESS, "weights", "0 rows whose weight is not a number of at least 0", high=0),
        fact_between(FRAUDS, "fraud_count", f"at least {config.fewest_frauds} frauds", low=config.fewest_frauds),
        fact_between(FOLDS, "folds", "frauds to learn from, to calibrate by and to judge by", low=3, high=3),
        *label_rules(config, "are fraud"),
        *measured_expectations(),
    ]
