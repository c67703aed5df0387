"""What arriving order lines must be like."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations


def order_lines(arrival: Arrival) -> list[Expectation]:
    """One row per product in an order. A product or order that is not known yet is no fault of the line: the build judges that."""
    return contract_expectations(arrival)
