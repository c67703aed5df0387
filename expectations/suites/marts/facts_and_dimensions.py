"""What facts and dimensions must be like. Keys and relations are dbt's to test."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.marts.staged import NEWEST_DAY, ROWS, StagedMart
from expectations.suites.measured import fact_between, measured_expectations


def dim_customers(_mart: StagedMart) -> list[Expectation]:
    """One row per customer; a shop has some."""
    return [_has_rows(), *measured_expectations()]


def dim_products(_mart: StagedMart) -> list[Expectation]:
    """One row per product; a shop has some."""
    return [_has_rows(), *measured_expectations()]


def dim_customers_history(_mart: StagedMart) -> list[Expectation]:
    """One row per customer and version; a shop has customers."""
    return [_has_rows()]


def dim_products_history(_mart: StagedMart) -> list[Expectation]:
    """One row per product and version; a shop has products."""
    return [_has_rows()]


def fct_orders(mart: StagedMart) -> list[Expectation]:
    """One row per order, up to the newest day on which the shop was open."""
    return [_has_rows(), _is_fresh(mart), *measured_expectations()]


def fct_order_lines(mart: StagedMart) -> list[Expectation]:
    """One row per product in an order, up to the newest day on which the shop was open."""
    return [_has_rows(), _is_fresh(mart), *measured_expectations()]


def audit_demographics(_mart: StagedMart) -> list[Expectation]:
    """One row per customer who told something; nobody has to."""
    return measured_expectations()


def _has_rows() -> Expectation:
    return fact_between(ROWS, "row_count", "at least 1 row", low=1)


def _is_fresh(mart: StagedMart) -> Expectation:
    day = mart.expected_day
    return fact_between(
        NEWEST_DAY, "freshness", f"{day} as the newest day", day.toordinal(), day.toordinal(), is_day=True
    )
