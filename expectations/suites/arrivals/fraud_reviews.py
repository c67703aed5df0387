"""What arriving fraud reviews must be like."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations


def fraud_reviews(arrival: Arrival) -> list[Expectation]:
    """One row per analyst's decision."""
    return contract_expectations(arrival)
