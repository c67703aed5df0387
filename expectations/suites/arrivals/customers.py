"""What arriving customers must be like."""

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations
from expectations.validation import ROW, rule_meta


def customers(arrival: Arrival) -> list[Expectation]:
    """One row per customer, a snapshot or the new and changed ones; nobody registered in the shop's future."""
    return [
        *contract_expectations(arrival),
        gxe.ExpectColumnValuesToBeBetween(
            column="registered_at",
            max_value=arrival.clock,
            strict_max=True,
            meta=rule_meta(
                "registered_at_in_future",
                ROW,
                f"registered_at not after the end of {arrival.last_day}",
                holds_for_deletes=False,
                waivable=True,
            ),
        ),
    ]
