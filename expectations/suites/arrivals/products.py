"""What arriving products must be like."""

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import TRUE_COUNT, Arrival, contract_expectations
from expectations.validation import DELIVERED, rule_meta


def products(arrival: Arrival) -> list[Expectation]:
    """One row per product. The first batch must hold something to recommend; later ones may be a change of one fee."""
    expectations = contract_expectations(arrival)
    if not arrival.history.has_rows:
        expectations.append(
            gxe.ExpectColumnMaxToBeBetween(
                column=TRUE_COUNT.format("is_merchandise"),
                min_value=1,
                meta=rule_meta("some_merchandise", DELIVERED, "at least one product to recommend"),
            )
        )
    return expectations
