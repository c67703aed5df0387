"""What a training set of the recommender must be like."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from great_expectations.expectations.expectation import Expectation

from expectations.suites.measured import fact_between, measured_expectations
from expectations.suites.model_inputs import facts
from expectations.suites.model_inputs.facts import DUPLICATES, LARGEST_NULL_SHARE, ROWS, label_rules, structure_rules

LABEL_WEEKS = "label_weeks"
CUSTOMERS = "customers"


@dataclass(frozen=True)
class ModelInputConfig(facts.ModelInputConfig):
    """One row per customer, product and as-of date; one label week follows each as-of date."""

    fewest_customers: int = 10
    fewest_label_weeks: int = 1
    facts: Mapping[str, str] = field(
        default_factory=lambda: {
            CUSTOMERS: 'count(distinct "{key}")',
            LABEL_WEEKS: 'count(distinct "{cut}")',
        }
    )


def recommender(config: ModelInputConfig) -> list[Expectation]:
    """One row per customer, product and as-of date: enough of them, each once, with both outcomes and no audit data."""
    return [
        *structure_rules(),
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
        *label_rules(config, "bought"),
        fact_between(
            LARGEST_NULL_SHARE,
            "feature_null_share",
            f"nulls in at most {config.largest_null_share:.0%} of each feature",
            high=config.largest_null_share,
        ),
        *measured_expectations(),
    ]
