"""What arriving promotions must be like."""

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations
from expectations.validation import ROW, rule_meta


def promotions(arrival: Arrival) -> list[Expectation]:
    """One row per product, store and start; a promotion ends after it starts."""
    return [
        *contract_expectations(arrival),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="ends_at",
            column_B="starts_at",
            or_equal=False,
            ignore_row_if="either_value_is_missing",
            meta=rule_meta("ends_before_start", ROW, "ends_at after starts_at", holds_for_deletes=False, waivable=True),
        ),
    ]
