"""A model ready to be asked about attempts: the plan of its inputs and the groups of its reasons, found once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.fraud.attempt_rows import OWN_COLUMNS, AttemptRows
from ml.fraud.derived import Values
from ml.fraud.features import InputPlan, model_features
from ml.fraud.hints import Asked
from ml.fraud.order_table import Floats
from ml.fraud.protocols import BIAS, FraudScorer
from ml.fraud.reasons import ReasonGroups
from ml.outcomes import DataFailed

_AMOUNT = OWN_COLUMNS.index("amount_cents")


class PreparedModel:
    """A scorer and what it takes to ask it.

    Args:
        columns: What is known of an attempt when this model is asked, the first of the columns of `AttemptRows.raw`.

    Raises:
        DataFailed: The model needs an input that does not follow from these columns.
    """

    def __init__(self, scorer: FraudScorer, columns: Sequence[str]) -> None:
        absent = set(scorer.features) - set(model_features(columns))
        if absent:
            raise DataFailed(f"fraud model {scorer.name}: {len(absent)} inputs are not known online; retrain")
        self.scorer = scorer
        self.plan = InputPlan(columns, scorer.features)
        self.groups = ReasonGroups(scorer.features)
        self.names = (*scorer.features, BIAS)
        # What a model makes once, at the first row that it sees, it makes here, and not while a customer waits.
        scorer.judged(np.zeros((1, len(scorer.features)), dtype=np.float32))

    def says(self, rows: AttemptRows, at: npt.NDArray[np.bool_]) -> "ModelSays":
        """What it says of the rows `at`; nothing of the others."""
        judged = self.scorer.judged(self.inputs(rows.raw[at]))
        probabilities = np.full(rows.n, np.nan)
        probabilities[at] = judged.probabilities
        faults = np.full(rows.n, "", dtype=object)
        faults[at] = judged.faults
        shares = np.zeros((rows.n, len(self.names)))
        shares[at] = judged.shares
        return ModelSays(self, probabilities, faults, shares)

    def inputs(self, raw: Values) -> Values:
        return self.plan.compute(raw[:, : len(self.plan.columns)])


@dataclass(frozen=True)
class Explained:
    """Reasons, and the contributions that are not 0."""

    reasons: list[dict[str, Any]]
    contributions: Mapping[str, float]


@dataclass(frozen=True)
class ModelSays:
    """What a model says of n attempts; NaN and no fault where it was not asked."""

    model: PreparedModel | None
    probabilities: Floats
    faults: npt.NDArray[np.object_]
    shares: Floats

    @classmethod
    def none(cls, n: int) -> "ModelSays":
        return cls(None, np.full(n, np.nan), np.full(n, "", dtype=object), np.zeros((n, 0)))

    @cached_property
    def _sums(self) -> Floats:
        """Of all attempts at once, by group of reasons."""
        assert self.model is not None, "only what was judged is explained"
        return self.model.groups.sums(self.shares)

    def explained(self, at: int, rows: AttemptRows) -> Explained:
        assert self.model is not None, "only what was judged is explained"
        shares, names = self.shares[at], self.model.names
        values = shares.tolist()
        moved = {names[place]: values[place] for place in shares.nonzero()[0].tolist()}
        return Explained(self.model.groups.reasons(rows.record(at), values, self._sums[at]), moved)

    def asked(self, at: int, rows: AttemptRows) -> Asked:
        """An attempt as a hint is asked about."""
        model, shares = self.model, self.shares[at]
        assert model is not None, "only what was judged has a hint"

        def signals() -> tuple[Mapping[str, float], float]:
            sums = self._sums[at]
            return dict(zip(model.groups.codes, sums.tolist(), strict=True)), float(sums.sum() + shares[-1])

        def probabilities_at(amounts: Floats) -> Floats:
            raw = np.repeat(rows.raw[at : at + 1], len(amounts), axis=0)
            raw[:, _AMOUNT] = amounts
            return model.scorer.scored(model.inputs(raw))

        order = rows.table() if rows.n == 1 else rows.single(at).table()
        amount = float(rows.attempts[at].event.amount_cents)
        return Asked(order, float(self.probabilities[at]), amount, probabilities_at, signals)
