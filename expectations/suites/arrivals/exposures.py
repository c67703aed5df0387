"""What arriving exposures must be like."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations


def exposures(arrival: Arrival) -> list[Expectation]:
    """One row per product that was shown as recommended."""
    return contract_expectations(arrival)
