"""What arriving order lines must be like."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations


def order_lines(arrival: Arrival) -> list[Expectation]:
    """One row per product in an order. That its product or order is not known yet is judged at build, not here."""
    return contract_expectations(arrival)
