"""One suite per table of the shop contract: what its arriving batches must be like."""

from collections.abc import Callable

from great_expectations.expectations.expectation import Expectation

from expectations.suites.arrivals.campaigns import campaigns
from expectations.suites.arrivals.chargebacks import chargebacks
from expectations.suites.arrivals.consents import consents
from expectations.suites.arrivals.coupon_redemptions import coupon_redemptions
from expectations.suites.arrivals.coupons import coupons
from expectations.suites.arrivals.customers import customers
from expectations.suites.arrivals.demographics import demographics
from expectations.suites.arrivals.exposures import exposures
from expectations.suites.arrivals.fraud_decisions import fraud_decisions
from expectations.suites.arrivals.fraud_reviews import fraud_reviews
from expectations.suites.arrivals.from_contract import Arrival
from expectations.suites.arrivals.interactions import interactions
from expectations.suites.arrivals.order_lines import order_lines
from expectations.suites.arrivals.orders import orders
from expectations.suites.arrivals.payments import payments
from expectations.suites.arrivals.products import products
from expectations.suites.arrivals.promotions import promotions
from expectations.suites.arrivals.refunds import refunds

ARRIVAL_SUITES: dict[str, Callable[[Arrival], list[Expectation]]] = {
    "campaigns": campaigns,
    "chargebacks": chargebacks,
    "consents": consents,
    "coupon_redemptions": coupon_redemptions,
    "coupons": coupons,
    "customers": customers,
    "demographics": demographics,
    "exposures": exposures,
    "fraud_decisions": fraud_decisions,
    "fraud_reviews": fraud_reviews,
    "interactions": interactions,
    "order_lines": order_lines,
    "orders": orders,
    "payments": payments,
    "products": products,
    "promotions": promotions,
    "refunds": refunds,
}
