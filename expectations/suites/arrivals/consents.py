"""What arriving consents must be like."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations


def consents(arrival: Arrival) -> list[Expectation]:
    """One row per change of a customer's consent."""
    return contract_expectations(arrival)
