"""What arriving demographics must be like."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations


def demographics(arrival: Arrival) -> list[Expectation]:
    """One row per customer who told something; audit only."""
    return contract_expectations(arrival)
