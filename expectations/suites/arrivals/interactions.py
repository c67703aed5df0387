"""What arriving interactions must be like."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations


def interactions(arrival: Arrival) -> list[Expectation]:
    """One row per thing that a visitor did or was shown."""
    return contract_expectations(arrival)
