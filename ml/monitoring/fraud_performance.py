"""Quality of past fraud scores: what was scored against what became known of the same orders, once labels are mature.

Only orders that are old enough are judged: of younger ones most frauds are not known yet, and a model would look better
or worse by that alone. Until there are such orders the state is unknown, which is expected.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.evaluation.bootstrap import resampled
from ml.evaluation.classification_metrics import Ranking
from ml.monitoring.states import MonitorState, State, unknown, worst

MONITOR = "performance"


@dataclass(frozen=True)
class FraudPerformanceConfig:
    """When past scores did too badly.

    Attributes:
        window_days: Days of mature orders that are judged together.
        min_orders, min_frauds: With fewer, the window says nothing.
        warn_ratio, alert_ratio: Average precision over what the model reached before its promotion. Only what lies
            below beyond doubt (the upper end of the interval) counts.
        calibration_ratio: Frauds over the sum of the probabilities may lie between this and its inverse.
    """

    window_days: int = 28
    min_orders: int = 500
    min_frauds: int = 20
    warn_ratio: float = 0.85
    alert_ratio: float = 0.7
    calibration_ratio: float = 2.0
    draws: int = 500
    seed: int = 20171119

    def days(self, partition: date, maturity_days: int) -> tuple[date, date]:
        """First and last shop day of the orders that are judged at the end of a shop day."""
        last = partition - timedelta(days=maturity_days)
        return last - timedelta(days=self.window_days - 1), last


def judge_fraud_performance(
    product: str, orders: pd.DataFrame, level: float | None, config: FraudPerformanceConfig
) -> MonitorState:
    """Judge one window.

    Args:
        orders: score (probability given when the order was decided), is_fraud, weight (1 / the chance that the label
            could become known), customer_id; orders with a mature label only.
        level: Average precision that the model reached on its own test days; None when it is not known.
    """
    frauds = int(orders["is_fraud"].sum())
    if len(orders) < config.min_orders or frauds < config.min_frauds:
        why = (
            f"not yet mature: {len(orders)} scored orders with {frauds} frauds are old enough, "
            f"{config.min_orders} and {config.min_frauds} are needed"
        )
        return unknown(MONITOR, product, why, expected=True)
    weight = orders["weight"].to_numpy(np.float64)
    ranking = Ranking.of(orders["score"], orders["is_fraud"])

    def average_precision(drawn: npt.NDArray[np.float64]) -> float:
        return ranking.average_precision(drawn * weight)

    reached = resampled(average_precision, orders["customer_id"], draws=config.draws, seed=config.seed)
    observed = float((weight * orders["is_fraud"]).sum() / (weight * orders["score"]).sum())
    states: list[State] = ["ok" if 1 / config.calibration_ratio <= observed <= config.calibration_ratio else "warn"]
    if level is not None:
        states.append(
            "alert"
            if reached.high < level * config.alert_ratio
            else "warn"
            if reached.high < level * config.warn_ratio
            else "ok"
        )
    detail = {
        "orders": len(orders),
        "frauds": frauds,
        "interval": [reached.low, reached.high],
        "reached_before_promotion": level,
        "frauds_over_expected": observed,
    }
    floor = None if level is None else level * config.alert_ratio
    return MonitorState(MONITOR, product, worst(states), reached.mean, floor, detail)
