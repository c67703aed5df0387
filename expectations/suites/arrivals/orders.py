"""What arriving orders must be like."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations


def orders(arrival: Arrival) -> list[Expectation]:
    """One row per order; the shop's clock, currency and pace are what it can break."""
    return contract_expectations(arrival)
