"""What feature marts must be like before a model is fed from them."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.marts.staged import NEWEST_DAY, ROWS, StagedMart
from expectations.suites.measured import fact_between, measured_expectations


def feat_customer(mart: StagedMart) -> list[Expectation]:
    """One row per active customer and as-of date, up to the day after the newest."""
    return _features(mart)


def feat_product(mart: StagedMart) -> list[Expectation]:
    """One row per product sold and as-of date, up to the day after the newest."""
    return _features(mart)


def _features(mart: StagedMart) -> list[Expectation]:
    day = mart.as_of_date
    return [
        fact_between(ROWS, "row_count", "at least 1 row", low=1),
        fact_between(
            NEWEST_DAY, "freshness", f"{day} as the newest as-of date", day.toordinal(), day.toordinal(), is_day=True
        ),
        *measured_expectations(),
    ]
