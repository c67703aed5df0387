"""How well a method tells fraud apart: any probabilities, on the same orders, weighted for those that were declined."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.evaluation.bootstrap import Interval, resampled
from ml.evaluation.classification_metrics import Ranking, Reliability, precision_recall, reliability
from ml.fraud.config import EvaluationConfig, FraudConfig
from ml.outcomes import DataFailed

Floats = npt.NDArray[np.float64]

APPROVE = "approve"
# Probabilities and the orders -> expected cost in cents of every action, one column an action, `approve` among them.
ExpectedCosts = Callable[[Floats, pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class JudgedFraud:
    """One method on one range of orders.

    Attributes:
        per_order: order_id, customer_id, is_fraud, weight, probability, saved_cents (NaN without costs) and `groups`;
            one row per order, in the order of the rows judged.
    """

    per_order: pd.DataFrame
    config: EvaluationConfig

    def summary(self) -> dict[str, float]:
        """Figures of the method; NaN where too few frauds or orders are judged to say anything."""
        rows = self.per_order
        weight = rows["weight"].to_numpy()
        is_fraud = rows["is_fraud"].to_numpy()
        ranking = self.ranking()
        enough = self.count_frauds() >= self.config.min_frauds
        figures = {"average_precision": ranking.average_precision(weight)}
        for budget in self.config.alert_budgets:
            figures[recall_name(budget)] = ranking.recall_at(budget, weight)
        figures["expected_calibration_error"] = self.reliability().error()
        figures["saved_cents_per_1000_orders"] = 1000.0 * _mean(rows["saved_cents"].to_numpy(), weight)
        if not enough:
            figures = dict.fromkeys(figures, float("nan"))
        return figures | {
            "fraud_share": _mean(is_fraud.astype(float), weight),
            "mean_probability": _mean(rows["probability"].to_numpy(), weight),
            "count_orders": float(len(rows)),
            "count_frauds": float(self.count_frauds()),
            "count_unscored": float(rows["probability"].isna().sum()),
        }

    def count_frauds(self) -> int:
        return int(self.per_order["is_fraud"].sum())

    def ranking(self) -> Ranking:
        return Ranking.of(self.per_order["probability"], self.per_order["is_fraud"])

    def reliability(self) -> Reliability:
        rows = self.per_order
        return reliability(
            rows["probability"], rows["is_fraud"], rows["weight"].to_numpy(), self.config.calibration_bins
        )

    def precision_recall(self) -> tuple[Floats, Floats]:
        """(recall, precision) at every threshold."""
        rows = self.per_order
        return precision_recall(rows["probability"], rows["is_fraud"], rows["weight"].to_numpy())


def judge(
    rows: pd.DataFrame,
    probabilities: npt.ArrayLike,
    config: FraudConfig | EvaluationConfig,
    groups: pd.DataFrame | None = None,
    costs: ExpectedCosts | None = None,
) -> JudgedFraud:
    """Judge probabilities on labelled orders.

    Args:
        rows: order_id, customer_id, attempted_at, amount_cents, is_fraud and weight, as
            `ml.fraud.dataset.training_rows` gives them (its test days).
        probabilities: Of each row; NaN where the model says nothing: such an order comes last and is approved.
        groups: customer_id and one column per attribute, joined to the orders after they were scored.
        costs: What each action costs at a probability; money saved is against approving everything.

    Raises:
        DataFailed: Probabilities and rows do not belong together.
    """
    scored = np.asarray(probabilities, dtype=np.float64)
    if scored.shape != (len(rows),):
        raise DataFailed(f"fraud evaluation: {scored.shape} probabilities for {len(rows)} orders")
    per_order = pd.DataFrame(
        {
            "order_id": rows["order_id"].to_numpy(),
            "customer_id": rows["customer_id"].to_numpy() if "customer_id" in rows else None,
            "is_fraud": rows["is_fraud"].to_numpy(bool),
            "weight": rows["weight"].to_numpy(np.float64) if "weight" in rows else 1.0,
            "probability": scored,
        }
    )
    saved = np.full(len(rows), np.nan) if costs is None else saved_cents(rows, scored, costs)
    per_order = per_order.assign(saved_cents=saved)
    if groups is not None:
        per_order = per_order.merge(groups, on="customer_id", how="left", validate="many_to_one")
    return JudgedFraud(per_order, config.evaluation if isinstance(config, FraudConfig) else config)


def saved_cents(rows: pd.DataFrame, probabilities: Floats, costs: ExpectedCosts) -> Floats:
    """What choosing the cheapest action by the probability saves on each order, against approving it.

    What an action cost in the end is what it is expected to cost when the probability is the truth: 0 or 1.
    """
    expected = costs(np.nan_to_num(probabilities), rows)
    truth = costs(rows["is_fraud"].to_numpy(np.float64), rows)
    chosen = expected.to_numpy(np.float64).argmin(axis=1)
    became = truth[expected.columns].to_numpy(np.float64)[np.arange(len(rows)), chosen]
    return np.asarray(truth[APPROVE].to_numpy(np.float64) - became)


def average_precision(judged: JudgedFraud) -> Callable[[Floats], float]:
    """Average precision as a statistic of how often each order was drawn."""
    ranking, weight = judged.ranking(), judged.per_order["weight"].to_numpy()
    return lambda drawn: ranking.average_precision(drawn * weight)


def recall_at(judged: JudgedFraud, budget: float) -> Callable[[Floats], float]:
    """Recall at a budget as a statistic of how often each order was drawn."""
    ranking, weight = judged.ranking(), judged.per_order["weight"].to_numpy()
    return lambda drawn: ranking.recall_at(budget, drawn * weight)


def saved_per_1000(judged: JudgedFraud) -> Callable[[Floats], float]:
    """Money saved per 1,000 orders, in cents, as a statistic of how often each order was drawn."""
    saved, weight = judged.per_order["saved_cents"].to_numpy(), judged.per_order["weight"].to_numpy()
    return lambda drawn: 1000.0 * _mean(saved, drawn * weight)


def interval(judged: JudgedFraud, statistic: Callable[[Floats], float], seed: int) -> Interval:
    """Interval of a figure, drawing customers with all of their orders."""
    return resampled(statistic, judged.per_order["customer_id"], draws=judged.config.draws, seed=seed)


def compare(ours: JudgedFraud, theirs: JudgedFraud, seed: int) -> Interval:
    """Paired interval of the difference of average precision on the same orders."""
    assert (ours.per_order["order_id"].to_numpy() == theirs.per_order["order_id"].to_numpy()).all(), (
        f"{len(ours.per_order)} and {len(theirs.per_order)} judged orders are not the same"
    )
    our_figure, their_figure = average_precision(ours), average_precision(theirs)
    return interval(ours, lambda drawn: our_figure(drawn) - their_figure(drawn), seed)


def best(judged: Mapping[str, JudgedFraud]) -> str:
    """Name of the method with the largest average precision; ties and the undefined go to the first."""
    return max(judged, key=lambda name: np.nan_to_num(judged[name].summary()["average_precision"], nan=-1.0))


def recall_name(budget: float) -> str:
    """recall_at_0.5pct and the like."""
    return f"recall_at_{100 * budget:g}pct"


def _mean(values: Floats, weight: Floats) -> float:
    defined = ~np.isnan(values)
    total = weight[defined].sum()
    return float((values[defined] * weight[defined]).sum() / total) if total > 0 else float("nan")
