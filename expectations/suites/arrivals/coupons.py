"""What arriving coupons must be like."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations


def coupons(arrival: Arrival) -> list[Expectation]:
    """One row per coupon, campaign and product."""
    return contract_expectations(arrival)
