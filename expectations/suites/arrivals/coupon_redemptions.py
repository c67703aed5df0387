"""What arriving coupon redemptions must be like."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations


def coupon_redemptions(arrival: Arrival) -> list[Expectation]:
    """One row per redemption."""
    return contract_expectations(arrival)
