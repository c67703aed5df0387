"""What arriving campaigns must be like."""

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.from_contract import Arrival, contract_expectations
from expectations.validation import ROW, rule_meta


def campaigns(arrival: Arrival) -> list[Expectation]:
    """One row per campaign; a campaign with a last day ends on or after its first."""
    return [
        *contract_expectations(arrival),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="ends_on",
            column_B="starts_on",
            or_equal=True,
            ignore_row_if="either_value_is_missing",
            meta=rule_meta(
                "ends_before_start", ROW, "ends_on on or after starts_on", holds_for_deletes=False, waivable=True
            ),
        ),
    ]
