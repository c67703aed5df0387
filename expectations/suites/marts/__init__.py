"""One suite per mart: what it must be like to be published."""

from collections.abc import Callable

from great_expectations.expectations.expectation import Expectation

from expectations.suites.marts.exposures import fct_exposures
from expectations.suites.marts.facts_and_dimensions import (
    audit_demographics,
    dim_customers,
    dim_customers_history,
    dim_products,
    dim_products_history,
    fct_order_lines,
    fct_orders,
)
from expectations.suites.marts.features import feat_customer, feat_product
from expectations.suites.marts.fraud import (
    fct_fraud_decisions,
    fct_fraud_labels,
    fct_order_payments,
    feat_order_risk,
)
from expectations.suites.marts.monitoring import fct_row_conservation
from expectations.suites.marts.staged import StagedMart

MART_SUITES: dict[str, Callable[[StagedMart], list[Expectation]]] = {
    "dim_customers": dim_customers,
    "dim_customers_history": dim_customers_history,
    "dim_products": dim_products,
    "dim_products_history": dim_products_history,
    "fct_orders": fct_orders,
    "fct_order_lines": fct_order_lines,
    "audit_demographics": audit_demographics,
    "feat_customer": feat_customer,
    "feat_product": feat_product,
    "fct_order_payments": fct_order_payments,
    "feat_order_risk": feat_order_risk,
    "fct_fraud_labels": fct_fraud_labels,
    "fct_fraud_decisions": fct_fraud_decisions,
    "fct_exposures": fct_exposures,
    "fct_row_conservation": fct_row_conservation,
}
