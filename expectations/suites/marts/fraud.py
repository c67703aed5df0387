"""What the marts must be like that decisions on orders are learnt from. A shop may have no payments at all."""

from great_expectations.expectations.expectation import Expectation

from expectations.suites.marts.staged import StagedMart
from expectations.suites.measured import measured_expectations


def fct_order_payments(_mart: StagedMart) -> list[Expectation]:
    """One row per judged order."""
    return measured_expectations()


def feat_order_risk(_mart: StagedMart) -> list[Expectation]:
    """One row per judged order: finite numbers, and no feature that turned empty."""
    return measured_expectations()


def fct_fraud_labels(_mart: StagedMart) -> list[Expectation]:
    """One row per label; frauds may be none."""
    return measured_expectations()


def fct_fraud_decisions(_mart: StagedMart) -> list[Expectation]:
    """One row per decided order; deciding may not have begun."""
    return measured_expectations()
