"""Decisions about attempts to pay, one or many at once, from prepared parts: what the API answers with.

Everything that does not depend on an order is prepared once. Nothing here reads a store, a clock or a file; the same
attempts with the same counts give the same decisions, which is what a replay rests on.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from ml.fraud.attempt_rows import COUNTED, OWN_COLUMNS, AttemptRows, own_fields
from ml.fraud.choice import Chosen, Used, Waiting, choose_among, trace_of
from ml.fraud.declaration import declaration
from ml.fraud.events import Attempt
from ml.fraud.hints import hint_of
from ml.fraud.lists import ListEntry, ListIndex
from ml.fraud.online_state import Feature, features_in, keys_of
from ml.fraud.policy import ACTIONS, Policy
from ml.fraud.prepared_model import Explained, ModelSays, PreparedModel
from ml.fraud.protocols import FraudScorer
from ml.fraud.rules import RuleHistory as RuleHistory  # part of this interface
from ml.fraud.standin import standin_of

MODEL_STEP, FALLBACK_STEP, STANDIN_STEP = "model", "fallback_model", "standin"
NO_MODEL, FEATURES_MISSING = "no_model", "features_missing"
NO_LIMIT = 2**62
"""Limit of a spend that is counted and never refused: a review that a rule, a list or the stand-in asks for."""


@dataclass(frozen=True)
class DayUse:
    """What a shop day has used up of its caps; cents for `standin_cents`, orders for the others."""

    reviews: int = 0
    explored: int = 0
    standin_cents: int = 0


@dataclass(frozen=True)
class Decided:
    """What was decided about one attempt.

    Attributes:
        source: model, rule, list or standin: who asked for the strictest action.
        step: model, fallback_model or standin: who judged the order, on the ladder.
        probability: Of fraud, from the step's model; None where none scored.
        propensity: Chance that the order goes on, so that its label can become known.
        expected_costs: Action -> cents.
        rule_trace: As `ml.fraud.decide.decide` gives it.
        reasons: As `ml.fraud.reasons.reason_codes` gives them; empty where no model scored.
        contributions: Feature -> log-odds, those that are not 0, with `bias`.
        hint: What would have led to a milder action; None for approved orders.
        fault: Why the model did not score: no_model, features_missing, or a fault of `ml.fraud.inputs`; "" if it did.
        row: The order's own fields and, where they were at hand, the counted features, as the model saw them.
        spends: (name, amount, limit) of what the decision takes of the day's caps: reviews, explored, standin_cents.
    """

    order_id: str
    payment_id: str
    action: str
    source: str
    step: str
    probability: float | None
    would_decline: bool
    propensity: float
    expected_costs: Mapping[str, float]
    expected_saving_cents: float
    rule_trace: list[dict[str, Any]]
    reasons: list[dict[str, Any]]
    contributions: Mapping[str, float]
    hint: str | None
    fault: str
    row: Mapping[str, Any]
    spends: tuple[tuple[str, int, int], ...]


class FraudEngine:
    """Immutable; any number of threads may ask it at once."""

    def __init__(self, parts: "_Parts") -> None:
        self._parts = parts

    @classmethod
    def prepare(
        cls,
        scorer: FraudScorer | None,
        fallback: FraudScorer | None,
        policy: Policy,
        lists: Sequence[ListEntry],
        seed: int,
        zone: ZoneInfo,
    ) -> "FraudEngine":
        """Get everything ready that does not depend on an order.

        Args:
            scorer: The champion; None while there is none.
            fallback: The model for orders whose counted features are missing; None while there is none.
            lists: Entries in force.
            seed: Of exploration.
            zone: The shop's time zone: of its days, and of the hour of an order.

        Raises:
            DataFailed: A model needs an input that an attempt does not have.
        """
        model = None if scorer is None else PreparedModel(scorer, OWN_COLUMNS + COUNTED)
        blind = None if fallback is None else PreparedModel(fallback, OWN_COLUMNS)
        return cls(_Parts(model, blind, policy, ListIndex(lists), seed, zone))

    @property
    def policy(self) -> Policy:
        return self._parts.policy

    def state_keys(self, attempts: Sequence[Attempt]) -> list[str]:
        """The records that `counted` needs of these attempts, each once: one read for all."""
        return list(dict.fromkeys(key for one in attempts for key in keys_of(one.event, declaration())))

    def counted(self, records: Mapping[str, bytes], attempt: Attempt) -> dict[str, Feature]:
        """The counted features of an attempt.

        Args:
            records: What was found under `state_keys`; absent keys were never written.

        Raises:
            ToolFailed: The state has gone on for more than a day since the attempt.
        """
        return features_in(records, attempt.event, declaration())

    def shop_day(self, attempt: Attempt) -> str:
        """The shop day (YYYY-MM-DD) whose caps an attempt is decided within."""
        return own_fields(attempt, self._parts.zone).day

    def has_shared_out(
        self, attempts: Sequence[Attempt], decided: Sequence["Decided"], use: Mapping[str, DayUse]
    ) -> bool:
        """Whether a cap of a day ran out among these: then what one was given depends on the others.

        Args:
            decided: What `decide` said of `attempts` with this `use`.
        """
        policy = self._parts.policy
        taken: Counter[tuple[str, str]] = Counter()
        refused_cents: Counter[str] = Counter()
        for attempt, one in zip(attempts, decided, strict=True):
            day = str(one.row["attempt_date"])
            taken.update({(day, name): amount for name, amount, _ in one.spends})
            if one.step != MODEL_STEP and one.action != ACTIONS[0]:
                refused_cents[day] += attempt.event.amount_cents
        let_through = {limits.cents_per_day for limits in (policy.standin, *(one.standin for one in policy.segments))}
        for (day, name), amount in taken.items():
            used = getattr(use.get(day, DayUse()), name)
            if name == "standin_cents":
                wanted = used + amount + refused_cents[day]
                is_shared = any(used < most < wanted for most in let_through)
            else:
                most = policy.reviews.per_day if name == "reviews" else policy.exploration.per_day
                is_shared = used < most <= used + amount
            if is_shared:
                return True
        return False

    def decide(
        self,
        attempts: Sequence[Attempt],
        counted: Sequence[Mapping[str, Feature] | None],
        velocities: Sequence[Mapping[str, int] | None],
        use: Mapping[str, DayUse],
        history: RuleHistory,
        *,
        with_hint: bool = True,
    ) -> list[Decided]:
        """Decide attempts; answers are in the order of `attempts`.

        Args:
            counted: Of each attempt; None where they are missing: the fallback model, then the stand-in.
            velocities: Of each attempt, orders within 24 h by the names of `ml.fraud.standin.VELOCITIES`; looked at
                only where the counted features are missing.
            use: Shop day (YYYY-MM-DD) -> what it has used up; nothing for a day that is absent.
        """
        if not attempts:
            return []
        parts = self._parts
        rows = AttemptRows.read(attempts, counted, velocities, parts.zone)
        model, blind = _judge(parts.model, rows, rows.has_counts), _judge(parts.fallback, rows, ~rows.has_counts)
        by_model = ~np.isnan(model.probabilities)
        by_fallback = ~np.isnan(blind.probabilities) & ~by_model
        probabilities = np.where(by_model, model.probabilities, blind.probabilities)
        waiting = Waiting(rows.table(), rows.ids, rows.times, rows.days, probabilities, by_fallback)
        used = Used(
            {day: one.reviews for day, one in use.items()},
            {day: one.explored for day, one in use.items()},
            {day: one.standin_cents for day, one in use.items()},
        )
        chosen = choose_among(waiting, parts.policy, parts.lists, history, used, parts.seed)
        traces = trace_of(chosen, parts.policy, len(attempts))
        decided = []
        for at, attempt in enumerate(attempts):
            said = model if by_model[at] else blind if by_fallback[at] else None
            step = MODEL_STEP if by_model[at] else FALLBACK_STEP if by_fallback[at] else STANDIN_STEP
            probability = float(probabilities[at]) if said is not None else None
            action = ACTIONS[chosen.action[at]]
            shown = said.explained(at, rows) if said is not None else Explained([], {})
            decided.append(
                Decided(
                    order_id=attempt.event.order_id,
                    payment_id=attempt.event.payment_id,
                    action=action,
                    source=str(chosen.source[at]),
                    step=step,
                    probability=probability,
                    would_decline=bool(chosen.would_decline[at]),
                    propensity=float(chosen.propensity[at]),
                    expected_costs=dict(zip(ACTIONS, (round(c, 2) for c in chosen.costs[at].tolist()), strict=True)),
                    expected_saving_cents=round(float(chosen.saving[at]), 2),
                    rule_trace=traces[at],
                    reasons=shown.reasons,
                    contributions=shown.contributions,
                    hint=_hint(rows, at, said, chosen, parts.policy) if with_hint and action != ACTIONS[0] else None,
                    fault="" if by_model[at] else _fault(model, rows, at),
                    row=rows.as_mapping(at),
                    spends=_spends(chosen, at, attempt.event.amount_cents, parts.policy),
                )
            )
        return decided


@dataclass(frozen=True)
class _Parts:
    model: PreparedModel | None
    fallback: PreparedModel | None
    policy: Policy
    lists: ListIndex
    seed: int
    zone: ZoneInfo


def _judge(model: PreparedModel | None, rows: AttemptRows, at: npt.NDArray[np.bool_]) -> ModelSays:
    """What a model says of some of the rows; nothing of the others."""
    return ModelSays.none(rows.n) if model is None or not at.any() else model.says(rows, at)


def _fault(model: ModelSays, rows: AttemptRows, at: int) -> str:
    if not rows.has_counts[at]:
        return FEATURES_MISSING
    return model.faults[at] or NO_MODEL


def _hint(rows: AttemptRows, at: int, said: ModelSays | None, chosen: Chosen, policy: Policy) -> str | None:
    decided = {"action": ACTIONS[chosen.action[at]], "source": chosen.source[at]}
    return hint_of(said.asked(at, rows) if said is not None else None, policy, decided)


def _spends(chosen: Chosen, at: int, amount_cents: int, policy: Policy) -> tuple[tuple[str, int, int], ...]:
    spends = []
    if ACTIONS[chosen.action[at]] == "review":
        spends.append(("reviews", 1, policy.reviews.per_day if chosen.is_weighed[at] else NO_LIMIT))
    if chosen.is_explored[at]:
        spends.append(("explored", 1, policy.exploration.per_day))
    if chosen.is_let_through[at]:
        limits = standin_of(int(chosen.segments[at]), policy)
        spends.append(("standin_cents", amount_cents, limits.cents_per_day))
    return tuple(spends)
