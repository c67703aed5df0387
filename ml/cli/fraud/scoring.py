"""Decisions on the orders of past days that have none yet: scored, decided by the policy in force, explained, kept.

An order that was decided keeps its decision, so running a day again changes nothing. Decisions are stored after what
stands beside them: after a crash the same orders are decided again, with the same outcome.
"""

from collections.abc import Hashable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.cli.feature_changes import refuse_changed_features
from ml.cli.fraud.inputs import (
    NO_PAYMENTS,
    PRODUCT,
    configuration,
    has_payments,
    origin,
    read_orders,
    scores_store,
    used_fingerprints,
)
from ml.cli.policies_in_force import decide_orders, record_hits, shadow_policies
from ml.cli.training_sets import as_arrow, publish_over_current
from ml.fraud.config import FraudConfig
from ml.fraud.features import with_derived
from ml.fraud.hints import what_would_change
from ml.fraud.policy import Policy
from ml.fraud.protocols import FraudScorer
from ml.fraud.reasons import reason_codes
from ml.outcomes import DataFailed
from ml.serving.fraud_parts import active_policy, scorer_of
from ml.settings import Settings, get_settings
from ml.stores import decision_log, registry, reviews
from ml.stores.bundles import ModelBundle
from ml.stores.operations import Operations
from ml.stores.shown import SCORED
from ml.stores.versions import Version
from ml.stores.warehouse import Marts, open_marts

Floats = npt.NDArray[np.float64]

WINDOW_DAYS = 7
"""Orders of so many days up to the run's are looked at: late ones are decided too, and drift has enough rows."""


def score_orders(partition: date) -> dict[str, Any]:
    """Decide the orders of a shop day, and of the days before it, that have no decision yet.

    Returns:
        With `skipped` where the shop has no payments, or where the orders are history that waits for the first model.

    Raises:
        DataFailed: A feature is no longer what the champion was trained on; nothing is decided until a retrain.
    """
    settings = get_settings()
    marts = open_marts(settings)
    if not has_payments(marts):
        return {"partition": partition.isoformat(), "skipped": NO_PAYMENTS}
    if marts.target_day < partition:
        raise DataFailed(f"marts {marts.version.id} reach {marts.target_day}, scoring needs {partition}")
    config, operations = configuration(settings), Operations.from_settings(settings)
    bundle = registry.load_champion(settings, PRODUCT)
    scorer = None
    if bundle is not None:
        now = used_fingerprints(marts, bundle.manifest["features"])
        refuse_changed_features(settings, bundle, now, partition, "Orders wait for their decision.")
        scorer = scorer_of(bundle)
    first = partition - timedelta(days=WINDOW_DAYS - 1)
    if bundle is None:
        # What was over when the shop came here is for a model to learn from, not for a stand-in to decide.
        first = max(first, settings.bootstrap_day + timedelta(days=1))
        if first > partition:
            return {"partition": partition.isoformat(), "skipped": "history waits for the first model"}
    orders = read_orders(marts.connect(), first, partition)
    rows = with_derived(orders)
    probabilities = None if scorer is None else scorer.probabilities(rows)
    decided_before = decision_log.decided_orders(operations, orders["order_id"].tolist())
    is_open = ~orders["order_id"].isin(decided_before).to_numpy()
    decided = _decide_open(settings, operations, marts, bundle, scorer, orders, probabilities, is_open)
    version = None
    if bundle is not None and scorer is not None and probabilities is not None:
        sample = _sample(bundle.manifest["watched"], rows, probabilities, config)
        version = _publish(settings, marts, bundle, sample, partition)
    return {
        "partition": partition.isoformat(),
        "payments": origin(settings)["payments"],
        "model_version": bundle.version if bundle else None,
        "version": version.id if version else None,
        "rows": len(decided),
        "actions": {str(name): int(count) for name, count in decided["action"].value_counts().items()},
        "sources": {str(name): int(count) for name, count in decided["source"].value_counts().items()},
        "decided_before": len(decided_before),
    }


def _decide_open(
    settings: Settings,
    operations: Operations,
    marts: Marts,
    bundle: ModelBundle | None,
    scorer: FraudScorer | None,
    orders: pd.DataFrame,
    probabilities: Floats | None,
    is_open: npt.NDArray[np.bool_],
) -> pd.DataFrame:
    """Decide orders that have no decision, and keep decisions, rule hits, cases and what shadow policies would do."""
    waiting = orders[is_open].reset_index(drop=True)
    scored = None if probabilities is None else probabilities[is_open]
    policy = active_policy(operations)
    decided = decide_orders(operations, waiting, scored, policy, settings.seed)
    for shadow in shadow_policies(operations):
        other = decide_orders(operations, waiting, scored, shadow, settings.seed)
        other = other.assign(policy_version=shadow.version, partition=_days(waiting))
        decision_log.record_shadow_decisions(operations, other)
    if len(waiting):
        record_hits(operations, decided, waiting, policy)
    explained = _explained(decided, waiting, scorer, scored, policy)
    decision_log.record_decisions(
        operations,
        explained.assign(
            customer_id=waiting["customer_id"],
            partition=_days(waiting),
            ordered_at=waiting["attempted_at"],
            decided_at=pd.Timestamp(settings.shop_clock(marts.target_day)),
            amount_cents=waiting["amount_cents"],
            score=np.nan if scored is None else scored,
            model_version=bundle.version if bundle else None,
            policy_version=policy.version,
            marts_version=marts.version.id,
        ),
    )
    reviews.open_cases(operations)
    return decided


def _days(orders: pd.DataFrame) -> list[str]:
    return [str(day) for day in pd.to_datetime(orders["attempt_date"]).dt.strftime("%Y-%m-%d")]


def _explained(
    decided: pd.DataFrame, orders: pd.DataFrame, scorer: FraudScorer | None, scored: Floats | None, policy: Policy
) -> pd.DataFrame:
    """The decisions with reasons, contributions and hint; an order that no model scored has only the policy's say."""
    reasons: list[list[dict[str, Any]]] = [[] for _ in range(len(decided))]
    shares: list[dict[str, float]] = [{} for _ in range(len(decided))]
    if scorer is not None and scored is not None and len(orders):
        rows = with_derived(orders)
        contributions = scorer.contributions(rows)
        told, records = reason_codes(rows, contributions), contributions.to_dict("records")
        for place in np.flatnonzero(np.isfinite(scored)):
            reasons[place] = told[place]
            shares[place] = {str(name): float(value) for name, value in records[place].items() if value != 0.0}
    hints = [_hint(row, scorer, policy, order) for row, order in _pairs(orders, decided)]
    explanations = {"reasons": reasons, "contributions": shares, "hint": hints}
    return pd.concat([decided, pd.DataFrame(explanations, index=decided.index, dtype=object)], axis=1)


def _pairs(orders: pd.DataFrame, decided: pd.DataFrame) -> list[tuple[pd.DataFrame, Mapping[Hashable, Any]]]:
    records = decided.to_dict("records")
    return [(orders.iloc[[place]], record) for place, record in enumerate(records)]


def _hint(
    row: pd.DataFrame, scorer: FraudScorer | None, policy: Policy, decision: Mapping[Hashable, Any]
) -> str | None:
    """What would have led to something milder; an order that was approved needs none."""
    if decision["action"] == "approve":
        return None
    return what_would_change(row, scorer, policy, {str(name): value for name, value in decision.items()})


def _sample(watched: Sequence[str], rows: pd.DataFrame, probabilities: Floats, config: FraudConfig) -> pd.DataFrame:
    """What was scored lately, for the drift check: every order, decided now or before."""
    scored = rows[list(watched)].assign(score=probabilities)
    scored = scored[np.isfinite(probabilities)]
    if len(scored) > config.sampled_rows:
        scored = scored.sample(config.sampled_rows, random_state=config.seed).sort_index()
    return scored.reset_index(drop=True)


def _publish(settings: Settings, marts: Marts, bundle: ModelBundle, sample: pd.DataFrame, partition: date) -> Version:
    store = scores_store(settings)
    as_of = (partition + timedelta(days=1)).isoformat()
    lineage = {
        "shop_id": settings.shop_id,
        "as_of_date": as_of,
        "model_version": bundle.version,
        "model_kind": bundle.kind,
        "model_name": bundle.manifest["name"],
        "marts_version": marts.version.id,
        **origin(settings),
    }
    return publish_over_current(settings, store, [store.write_part(SCORED, as_of, as_arrow(sample))], lineage)
