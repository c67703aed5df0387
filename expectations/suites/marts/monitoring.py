"""What the marts must be like that say how the warehouse itself is doing."""

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation

from expectations.suites.marts.staged import ROWS, STRAY, STRAY_BATCHES, StagedMart
from expectations.suites.measured import fact_between
from expectations.validation import rule_meta


def fct_row_conservation(_mart: StagedMart) -> list[Expectation]:
    """One row per table and batch, whose rows are all accounted for: published, quarantined or collapsed."""
    return [
        fact_between(ROWS, "row_count", "at least 1 row", low=1),
        gxe.ExpectColumnValuesToBeBetween(
            column=STRAY,
            min_value=0,
            max_value=0,
            meta=rule_meta(
                "rows_conserved",
                STRAY_BATCHES,
                "rows in = published + quarantined + collapsed, for every table and batch",
                counts="batches",
            ),
        ),
    ]
