"""Drift of features and scores: the day's scored rows against the window that the model was trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ml.monitoring.guards import GuardConfig, Guarded, guard
from ml.monitoring.states import MonitorState, State, by_thresholds, part_of, worst
from ml.outcomes import ToolFailed

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

SCORE = "score"


@dataclass(frozen=True)
class DriftConfig:
    """When a difference is drift. The distance is Wasserstein's, in standard deviations of the reference window.

    A test of significance would not do: with thousands of rows it calls every weekday a drift.

    Attributes:
        sample_rows: Rows kept of each window: keeps the step under half a minute, imports included.
        warn_distance: Evidently's own default for this distance.
        alert_distance: A shift of the mean by a quarter of a standard deviation, or as much change of shape.
        warn_share, alert_share: Share of the judged features beyond `alert_distance`. One feature of a kind moves
            with every promotion; a fifth of them together means that the model sees another shop.
        is_small_expected: Too few rows to compare are no failure: what is scored is what comes, not the whole shop.
    """

    sample_rows: int = 5000
    warn_distance: float = 0.1
    alert_distance: float = 0.25
    warn_share: float = 0.05
    alert_share: float = 0.2
    is_small_expected: bool = False
    seed: int = 20171119
    guards: GuardConfig = field(default_factory=GuardConfig)


@dataclass(frozen=True)
class Drift:
    """The verdict on one day.

    Attributes:
        features: Overall state of the features: their share that drifted.
        columns: One state per feature, and one of the scores.
        snapshot: Evidently's own result, for the report; None when nothing could be compared.
    """

    features: MonitorState
    columns: tuple[MonitorState, ...]
    snapshot: "Snapshot | None"

    @property
    def score(self) -> MonitorState:
        return next(column for column in self.columns if column.monitor == "score_drift")

    @property
    def unknown(self) -> tuple[str, ...]:
        """Columns that could not be judged."""
        whole = part_of(self.features.object, "")
        return tuple(column.object.removeprefix(whole) for column in self.columns if column.state == "unknown")

    def states(self) -> tuple[MonitorState, ...]:
        return (self.features, *self.columns)


def judge_drift(
    product: str, reference: pd.DataFrame, current: pd.DataFrame, features: Sequence[str], config: DriftConfig
) -> Drift:
    """Compare two windows feature by feature, and their scores.

    Args:
        product: Model product, the object of the overall state.
        reference: Rows of the training window: `features` and `score`.
        current: Rows scored for the day, drawn as the reference was.

    Raises:
        ToolFailed: Evidently could not make its report of columns that the guards let pass.
    """
    guarded = guard(reference, current, [*features, SCORE], config.guards)
    distances: dict[str, float] = {}
    snapshot = None
    if guarded.comparable:
        snapshot = _compare(reference, current, guarded.comparable, config)
        distances = _distances(snapshot)
    names = [*features, SCORE]
    columns = tuple(_column_state(product, name, guarded, distances, config) for name in names)
    by_name = dict(zip(names, columns, strict=True))
    return Drift(_overall(product, by_name, config), columns, snapshot)


def _compare(reference: pd.DataFrame, current: pd.DataFrame, columns: Sequence[str], config: DriftConfig) -> "Snapshot":
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=list(columns))
    windows = [
        Dataset.from_pandas(_sample(frame, columns, config), data_definition=definition)
        for frame in (current, reference)
    ]
    comparison = DataDriftPreset(
        columns=list(columns),
        num_method="wasserstein",
        num_threshold=config.alert_distance,
        drift_share=config.alert_share,
    )
    try:
        with np.errstate(divide="ignore", invalid="ignore"):  # of a constant column's correlations, in the pictures
            return Report([comparison]).run(*windows)
    except Exception as error:
        raise ToolFailed(f"Evidently could not compare {len(columns)} columns: {type(error).__name__}") from error


def _sample(frame: pd.DataFrame, columns: Sequence[str], config: DriftConfig) -> pd.DataFrame:
    kept = frame[list(columns)].astype("float64")
    if len(kept) > config.sample_rows:
        kept = kept.sample(config.sample_rows, random_state=config.seed)
    return kept.reset_index(drop=True)


def _distances(snapshot: "Snapshot") -> dict[str, float]:
    content: dict[str, Any] = snapshot.dict()
    single = [metric for metric in content["metrics"] if "column" in metric["config"]]
    return {metric["config"]["column"]: float(metric["value"]) for metric in single}


def _column_state(
    product: str, column: str, guarded: Guarded, distances: dict[str, float], config: DriftConfig
) -> MonitorState:
    monitor = "score_drift" if column == SCORE else "feature_drift"
    judged, limit = part_of(product, column), config.alert_distance
    if column in guarded.problems:
        return MonitorState(monitor, judged, "unknown", None, limit, {"why": guarded.problems[column]})
    if column in guarded.empty:
        return MonitorState(monitor, judged, "ok", None, limit, {"why": "without values in both windows"})
    distance = distances[column]
    state = by_thresholds(distance, config.warn_distance, limit)
    return MonitorState(monitor, judged, state, distance, limit, {"warn": config.warn_distance})


def _overall(product: str, columns: Mapping[str, MonitorState], config: DriftConfig) -> MonitorState:
    features = {name: state for name, state in columns.items() if state.monitor == "feature_drift"}
    judged = {name: state for name, state in features.items() if state.state != "unknown"}
    unknown = len(features) - len(judged)
    drifted = sorted(name for name, state in judged.items() if state.state == "alert")
    share = len(drifted) / len(judged) if judged else None
    states: list[State] = ["unknown"] if unknown else []
    if share is not None:
        states.append(by_thresholds(share, config.warn_share, config.alert_share))
    detail = {"features": len(features), "unknown": unknown, "drifted": drifted, "warn": config.warn_share}
    return MonitorState("data_drift", product, worst(states), share, config.alert_share, detail)
