"""Everything known about one order's decision, for whoever has to judge it: the command line and the API show the same.

No identifier of a customer, device, address or payment instrument is in it; orders are named by their ids.
"""

from collections.abc import Mapping
from contextlib import closing
from datetime import date, datetime
from typing import Any

import duckdb
from sqlalchemy import select

from ml.fraud.links import linked_entities, linked_orders, linking_entities, similar_cases
from ml.fraud.normal import customer_normal
from ml.fraud.reason_titles import title_of
from ml.outcomes import DataFailed
from ml.settings import Settings, wall_clock
from ml.stores import decision_log, reviews
from ml.stores.fraud_tables import decisions, review_cases
from ml.stores.landing import Landing
from ml.stores.linked_orders import features_of, known_labels, orders_sharing, payment_of
from ml.stores.operations import Operations
from ml.stores.warehouse import open_marts

SIMULATED = "simulated payments: made-up data"

# Newest decisions that are searched for similar cases.
_SIMILAR_AMONG = 2000
_DECISION = (
    *("order_id", "decision_id", "ordered_at", "decided_at", "amount_cents", "action", "source", "score"),
    *("would_decline", "propensity", "model_version", "policy_version", "marts_version"),
    *("expected_costs", "expected_saving_cents", "rule_trace", "hint"),
)
_CASE = ("state", "claimed_by", "claim_expires_at", "verdict", "decided_by", "decided_at", "note", "opened_at")
_EVENT = ("event", "by", "note", "happened_at")


def verdict_moment(settings: Settings) -> datetime:
    """The moment from which a verdict of now is known, in shop time.

    A live shop's clock is the wall clock. A replayed shop lives in its past: the end of its newest landed day.
    """
    if settings.last_day is None:
        return wall_clock()
    landed = [batch.last_day for batch in Landing(settings.shop_dir / "landing").batches("orders")]
    newest: date = max(landed, default=settings.bootstrap_day)
    return settings.shop_clock(newest)


def decision_file(settings: Settings, operations: Operations, order_id: str) -> dict[str, Any]:
    """An order's decision with its reasons, rule trace and hint, and the customer's normal beside the order.

    Raises:
        DataFailed: The order has no decision.
    """
    decision = decision_log.decision_of(operations, order_id)
    if decision is None:
        raise DataFailed("no decision is recorded for this order")
    connection = _marts(settings)
    if connection is None:
        return _told(settings, decision, [])
    with closing(connection):
        return _told(settings, decision, customer_normal(features_of(connection, order_id) or {}))


def case_file(settings: Settings, operations: Operations, order_id: str) -> dict[str, Any]:
    """The same for a case to review, with linked orders, similar cases, and what was done with the case so far.

    Raises:
        UnknownCase: The order has no case.
        DataFailed: Its decision is missing.
    """
    case = reviews.case_of(operations, order_id)
    decision = decision_log.decision_of(operations, order_id)
    if decision is None:
        raise DataFailed("the case has no decision: the operational record is incomplete")
    candidates = _candidates(operations, order_id)
    near = similar_cases(decision["contributions"], {order: one["contributions"] for order, one in candidates.items()})
    verdicts, normal, links, labels = _verdicts(operations), [], _NO_LINKS, {}
    connection = _marts(settings)
    if connection is not None:
        with closing(connection):
            normal = customer_normal(features_of(connection, order_id) or {})
            labels = known_labels(connection, [order for order, _ in near])
            links = _links(connection, order_id, verdicts)
    outcomes = _outcomes(labels, verdicts)
    return {
        **_told(settings, decision, normal),
        **links,
        "similar": [
            {
                "order_id": order,
                "distance": distance,
                "action": candidates[order]["action"],
                "is_fraud": outcomes.get(order),
            }
            for order, distance in near
        ],
        "case": {name: case[name] for name in _CASE},
        "trail": [{name: event[name] for name in _EVENT} for event in reviews.events(operations, order_id)],
    }


_NO_LINKS: dict[str, Any] = {"linked_entities": [], "linked_orders": []}


def _told(settings: Settings, decision: Mapping[str, Any], normal: list[dict[str, Any]]) -> dict[str, Any]:
    reasons = [{**reason, "title": title_of(str(reason.get("code")))} for reason in decision["reasons"]]
    data = SIMULATED if settings.simulates_payments else None
    return {**{name: decision[name] for name in _DECISION}, "reasons": reasons, "normal": normal, "data": data}


def _marts(settings: Settings) -> duckdb.DuckDBPyConnection | None:
    """The published marts, if they hold payments."""
    try:
        marts = open_marts(settings)
    except DataFailed:  # nothing is published yet: what the operational record knows can be shown without
        return None
    return marts.connect() if "fct_order_payments" in marts.version.tables() else None


def _links(connection: duckdb.DuckDBPyConnection, order_id: str, verdicts: Mapping[str, bool]) -> dict[str, Any]:
    order = payment_of(connection, order_id)
    if order is None:
        return _NO_LINKS
    others = orders_sharing(connection, order, linking_entities().values())
    outcomes = _outcomes(known_labels(connection, [str(one) for one in others["order_id"]]), verdicts)
    return {
        "linked_entities": linked_entities(order, others, outcomes),
        "linked_orders": linked_orders(order, others, outcomes),
    }


def _candidates(operations: Operations, order_id: str) -> dict[str, dict[str, Any]]:
    """Newest other decisions that were not simply approved, by order."""
    statement = (
        select(decisions.c.order_id, decisions.c.action, decisions.c.contributions)
        .where(decisions.c.action != "approve", decisions.c.order_id != order_id)
        .order_by(decisions.c.id.desc())
        .limit(_SIMILAR_AMONG)
    )
    with operations.transaction() as connection:
        return {str(row.order_id): dict(row._mapping) for row in connection.execute(statement)}


def _verdicts(operations: Operations) -> dict[str, bool]:
    """What analysts found, of which the marts may not know yet."""
    statement = select(review_cases.c.order_id, review_cases.c.verdict).where(review_cases.c.state == "decided")
    with operations.transaction() as connection:
        return {str(row.order_id): row.verdict == "fraud" for row in connection.execute(statement)}


def _outcomes(labels: Mapping[str, bool], verdicts: Mapping[str, bool]) -> dict[str, bool]:
    """Whether orders were fraud: what the shop was told since outweighs an analyst who found nothing."""
    return {order: labels.get(order, False) or verdicts.get(order, False) for order in {*labels, *verdicts}}
