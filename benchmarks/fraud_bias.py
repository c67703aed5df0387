"""The planted bias of the simulation: whether the audit catches it, and what each mitigation makes of it."""

from typing import Any

import numpy as np
import pandas as pd

from ml.fraud.config import FraudConfig
from ml.fraud.dataset import TEST

GROUP = "planted_group"


def with_group(rows: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Training rows with the group that was planted and what was fraud in truth."""
    known = truth[["order_id", "group", "is_fraud"]].rename(columns={"group": GROUP, "is_fraud": "truth"})
    return rows.merge(known, on="order_id", how="left", validate="one_to_one")


def audited(rows: pd.DataFrame, truth: pd.DataFrame) -> dict[str, Any]:
    """Gaps of what the default policy would do by the model alone, on the test days, with the labels as reported."""
    from ml.fairness.rates import RatesConfig, audit_decisions
    from ml.fraud.policy import expected_costs
    from ml.fraud.policy_file import default_policy
    from ml.fraud.train import fit

    test = with_group(rows[rows["fold"] == TEST].reset_index(drop=True), truth)
    probability = np.nan_to_num(fit(rows, FraudConfig()).probabilities(test))
    policy = default_policy()
    costs = expected_costs(probability, test["amount_cents"].to_numpy(), test, policy)
    frame = test[["order_id", "customer_id", "is_fraud"]].assign(
        action=costs[list(policy.actions)].idxmin(axis=1), probability=probability
    )
    gaps = audit_decisions(frame, test[["order_id", GROUP]], RatesConfig())
    return {gap.metric: gap.as_dict() for gap in gaps}


def mitigated(rows: pd.DataFrame, truth: pd.DataFrame) -> dict[str, Any]:
    """Each way to close the gap. Learnt from labels as reported; money counted by what was fraud in truth."""
    from ml.cli.fraud.fairness import compare_mitigations
    from ml.fraud.policy_file import default_policy

    known = with_group(rows, truth)
    test = np.flatnonzero(known["fold"] == TEST)
    judged = np.zeros(len(known), dtype=bool)
    judged[test[len(test) // 2 :]] = True
    known["is_fraud"] = known["is_fraud"].where(~judged, known["truth"]).astype(bool)
    found, factors = compare_mitigations(known.drop(columns="truth"), GROUP, default_policy(), FraudConfig())
    return {"ways": [one.as_dict() for one in found], "factors": factors}
