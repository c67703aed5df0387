"""What arriving fraud decisions must be like."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations


def fraud_decisions(arrival: Arrival) -> list[Expectation]:
    """One row per decision on an order."""
    return contract_expectations(arrival)
