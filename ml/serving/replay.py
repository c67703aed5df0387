"""Decide again what was decided: by the stored row, and the model, policy and lists of then.

What a replay cannot take from now it takes from the stored decision: what the day had used up, and which rules'
circuit breakers stood open.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ml.fraud.declaration import declaration
from ml.fraud.engine import MODEL_STEP, DayUse, Decided, FraudEngine, RuleHistory
from ml.fraud.lists import LISTS, ListEntry
from ml.fraud.online_state import Feature
from ml.fraud.policy import Policy
from ml.fraud.policy_file import default_policy, read_policy
from ml.outcomes import DataFailed
from ml.serving.decision_record import KeptDecision, risk_of
from ml.serving.fraud_parts import PRODUCT, feature_version, prepared_parts
from ml.settings import Settings
from ml.stores import policies
from ml.stores.bundles import ModelBundle, load_bundle
from ml.stores.operations import Operations

_CLOSE = 1e-6


def replayed(settings: Settings, operations: Operations, kept: KeptDecision, taken_at: datetime) -> dict[str, Any]:
    """Whether a kept decision comes out the same again.

    Returns:
        reproduced (None where it cannot be tried), differences (names of the fields that differ), problem (why it
        could not be tried; null else).
    """
    try:
        again = _decide_again(settings, operations, kept, taken_at)
    except DataFailed as error:
        return {"reproduced": None, "differences": [], "problem": str(error)}
    differences = _differences(kept, again)
    return {"reproduced": not differences, "differences": differences, "problem": None}


def _decide_again(settings: Settings, operations: Operations, kept: KeptDecision, taken_at: datetime) -> Decided:
    answer = kept.answer
    if answer["feature_version"] != feature_version():
        raise DataFailed("the declaration of features has changed since")
    policy = _policy(operations, answer["policy_version"])
    bundle = _bundle(settings, kept)
    lists = _lists_at(operations, taken_at)
    engine: FraudEngine = prepared_parts(settings, bundle, policy, lists).engine
    attempt = kept.parsed_attempt(settings.currency)
    row = kept.basis["row"]
    names = declaration().counted_features()
    has_counted = answer["step"] == MODEL_STEP or any(name in row for name in names)
    counted: Mapping[str, Feature] | None = {name: row.get(name) for name in names} if has_counted else None
    use = {engine.shop_day(attempt): DayUse(**kept.basis["use"])}
    history = _history(policy, kept.explained["rule_trace"], attempt.event.attempted_at)
    return engine.decide([attempt], [counted], [kept.basis["velocities"]], use, history)[0]


def _policy(operations: Operations, version: str) -> Policy:
    for row in policies.stored_policies(operations):
        if row["version"] == version:
            return read_policy(row["body"], f"policy {version}")
    if default_policy().version == version:
        return default_policy()
    raise DataFailed(f"policy {version} is not among the stored policies")


def _bundle(settings: Settings, kept: KeptDecision) -> ModelBundle | None:
    version = kept.answer["model_version"]
    if version is None:
        return None
    try:
        return load_bundle(settings, PRODUCT, version)
    except DataFailed as error:
        raise DataFailed(f"model {version} is no longer kept, or damaged") from error


def _lists_at(operations: Operations, moment: datetime) -> list[ListEntry]:
    known = {str(name): name for name in LISTS}
    return [
        ListEntry(known[row["list_name"]], row["entity"], row["value"], row["expires_at"])
        for row in policies.stored_list_entries(operations, removed_too=True)
        if row["added_at"] <= moment and (row["removed_at"] is None or row["removed_at"] > moment)
    ]


def _history(policy: Policy, trace: Sequence[Mapping[str, Any]], attempted_at: int) -> RuleHistory:
    """A history in which just those circuit breakers stand open that stood open then."""
    capped = {str(one["rule"]) for one in trace if one["kind"] == "rule" and one["capped"]}
    before = attempted_at * 1000 - 1
    return RuleHistory({rule.name: [before] * rule.breaker.declines for rule in policy.rules if rule.name in capped})


def _differences(kept: KeptDecision, again: Decided) -> list[str]:
    answer = kept.answer
    pairs = {
        "action": (answer["action"], again.action),
        "source": (answer["source"], again.source),
        "step": (answer["step"], again.step),
        "risk": (answer["risk"], risk_of(again)),
        "score": (answer["score"], again.probability),
        "expected_costs_cents": (answer["expected_costs_cents"], dict(again.expected_costs)),
        "rules": (answer["rules"], [one["rule"] for one in again.rule_trace if one["matched"]]),
        "reasons": ([one["code"] for one in answer["reasons"]], [one["code"] for one in again.reasons]),
        "hint": (answer["hint"], again.hint),
        "would_decline": (kept.explained["would_decline"], again.would_decline),
        "propensity": (kept.explained["propensity"], again.propensity),
    }
    return [name for name, (before, now) in pairs.items() if not _same(before, now)]


def _same(before: Any, now: Any) -> bool:
    if isinstance(before, float | int) and isinstance(now, float | int):
        return math.isclose(before, now, rel_tol=_CLOSE, abs_tol=_CLOSE)
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return before.keys() == now.keys() and all(_same(before[name], now[name]) for name in before)
    return bool(before == now)
