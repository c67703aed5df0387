"""What arriving chargebacks must be like."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations


def chargebacks(arrival: Arrival) -> list[Expectation]:
    """One row per chargeback; late by nature, so its events may be weeks old."""
    return contract_expectations(arrival)
