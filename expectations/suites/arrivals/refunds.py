"""What arriving refunds must be like."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations


def refunds(arrival: Arrival) -> list[Expectation]:
    """One row per refund."""
    return contract_expectations(arrival)
