"""What arriving payments must be like."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations


def payments(arrival: Arrival) -> list[Expectation]:
    """One row per attempt to pay."""
    return contract_expectations(arrival)
