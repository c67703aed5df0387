"""What the mart of recommendations shown must be like. Nothing may have been shown yet."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.marts.staged import StagedMart
from expectations.suites.measured import measured_expectations


def fct_exposures(_mart: StagedMart) -> list[Expectation]:
    """One row per product shown."""
    return measured_expectations()
