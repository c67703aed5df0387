"""Find a decision again by its id: one that was asked for over HTTP in the log, one of a batch in the record."""

from collections.abc import Mapping
from typing import Any

from ml.outcomes import DataFailed
from ml.serving.column_lists import ColumnLists
from ml.serving.decision_record import read_body
from ml.serving.fraud_parts import made_up_data
from ml.serving.replay import replayed
from ml.settings import Settings
from ml.stores.fraud_tables import decisions, rescorings
from ml.stores.operations import Operations
from ml.stores.serving_log import ServingLog

_EXPLAINED = ("would_decline", "propensity", "expected_saving_cents", "rule_trace", "contributions", "fault")


def find_decision(
    settings: Settings,
    operations: Operations,
    log: ServingLog,
    columns: ColumnLists,
    decision_id: str,
    replay: bool,
) -> dict[str, Any] | None:
    """The answer as it was given, with `explained` (rule trace, contributions, propensity) and `rescored` (by the
    model, of what was decided without it; null else); None for an id that no decision has.

    Args:
        replay: Also `replay`: whether the stored row, model and policy give the same again.
    """
    logged = log.find("decision", decision_id)
    if logged is None:
        return _from_record(settings, operations, decision_id, replay)
    kept = read_body(logged.body, columns)
    found = {
        **kept.answer,
        "explained": {name: kept.explained[name] for name in _EXPLAINED},
        "rescored": _rescored(operations, decision_id),
    }
    return {**found, "replay": replayed(settings, operations, kept, logged.taken_at)} if replay else found


def _rescored(operations: Operations, decision_id: str) -> dict[str, Any] | None:
    found = operations.rows(rescorings, decision_id=decision_id)
    if not found:
        return None
    names = ("score", "action", "model_version", "policy_version", "problem")
    return {**{name: found[0][name] for name in names}, "rescored_at": found[0]["rescored_at"].isoformat()}


def _from_record(settings: Settings, operations: Operations, decision_id: str, replay: bool) -> dict[str, Any] | None:
    rows = operations.rows(decisions, decision_id=decision_id)
    if not rows:
        return None
    row = rows[0]
    found = {
        "decision_id": row["decision_id"],
        "order_id": row["order_id"],
        "payment_id": None,
        "action": row["action"],
        "risk": "unknown" if row["score"] is None else _risk(row["expected_costs"]),
        "source": row["source"],
        "step": "standin" if row["score"] is None else "model",
        "degraded": row["score"] is None,
        "reasons": row["reasons"],
        "rules": [one["rule"] for one in row["rule_trace"] if one["matched"]],
        "score": row["score"],
        "hint": row["hint"],
        "expected_costs_cents": row["expected_costs"],
        "model_version": row["model_version"],
        "feature_version": None,
        "policy_version": row["policy_version"],
        "features_age_seconds": None,
        "decided_at": row["decided_at"].isoformat(),
        "data": made_up_data(settings),
        "explained": {**{name: row.get(name) for name in _EXPLAINED}, "fault": None},
        "rescored": None,
    }
    problem = "a batch decided it: the rows it was decided by are in the marts"
    return {**found, "replay": {"reproduced": None, "differences": [], "problem": problem}} if replay else found


def _risk(costs: Mapping[str, float]) -> str:
    if not costs:
        raise DataFailed("fraud_decisions.expected_costs: expected the cost of each action")
    return {"approve": "low", "decline": "high"}.get(min(costs, key=lambda action: costs[action]), "elevated")
