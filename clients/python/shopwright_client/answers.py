"""What the API answers, as frozen dataclasses. Fields that a newer API adds are ignored; `raw` holds them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypeVar

from shopwright_client.errors import UnexpectedAnswer

Raw = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Reason:
    """One reason of a decision: a code for programs, and a text for people if the key may read decisions."""

    code: str
    text: str | None = None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Replay:
    """What came out when a decision was computed again from what was kept of it.

    Attributes:
        reproduced: None when it could not be computed again; `problem` says why.
        differences: Fields that came out otherwise.
    """

    reproduced: bool | None
    differences: tuple[str, ...] = ()
    problem: str | None = None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Decision:
    """What is to be done about an attempt to pay.

    Attributes:
        action: approve | challenge | review | decline; whatever else a newer API answers, treat as review.
        step: model | fallback_model | standin: which step of the ladder decided.
        degraded: The best step was not available; the decision stands, and is looked at again later.
        score, hint, expected_costs_cents: Only for keys that may read decisions.
        features_age_seconds: None when no features were read.
        data: Says so when the model learnt from made-up payments.
    """

    decision_id: str
    order_id: str
    payment_id: str | None
    action: str
    risk: str
    source: str
    step: str
    degraded: bool
    reasons: tuple[Reason, ...]
    rules: tuple[str, ...]
    score: float | None
    hint: str | None
    expected_costs_cents: Mapping[str, float] | None
    model_version: str | None
    feature_version: str | None
    policy_version: str | None
    features_age_seconds: float | None
    decided_at: datetime
    data: str | None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class ShownDecision(Decision):
    """A decision that was looked up, with all that explains it.

    Attributes:
        explained: Contributions, rules, propensity and the like, as the API describes them.
        rescored: What the model said later of a decision that was made without features; None when there is none.
        replay: Only where it was asked for.
    """

    explained: Raw = field(default_factory=dict)
    rescored: Raw | None = None
    replay: Replay | None = None


@dataclass(frozen=True)
class DecisionResult:
    """What became of one attempt of a batch.

    Attributes:
        status: decided | known (the same attempt was decided before) | conflict (another attempt has this payment_id).
        decision: None for a conflict.
    """

    status: str
    decision_id: str
    decision: Decision | None


@dataclass(frozen=True)
class Item:
    """A recommended product."""

    product_id: str
    rank: int
    reason: str | Raw | None


@dataclass(frozen=True)
class Recommendation:
    """Products for a customer.

    Attributes:
        exposure_id: Send it with views, clicks and purchases that come of these items; None: it was not recorded that
            they were shown.
        step: personal | batch | segment | popular | static.
        profiling: False when the customer objected: these are the same for everybody.
        reason: Why the items are not personal, such as cold_start; None otherwise.
    """

    exposure_id: str | None
    placement: str | None
    step: str
    degraded: bool
    profiling: bool
    reason: str | None
    items: tuple[Item, ...]
    model_version: str | None
    feature_version: str | None
    policy_version: str | None
    as_of_date: date | None
    features_age_seconds: float | None
    k: int
    customer_id: str | None = None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class EventTaken:
    """Events that are kept, durably.

    Attributes:
        taken: New ones.
        known: Those that were kept before, with the same content.
        conflicts: Places, from 0, of those whose id was kept before with other content; the first ones stay.
    """

    taken: int
    known: int
    conflicts: tuple[int, ...] = ()
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


def decision_of(raw: Any) -> Decision:
    return Decision(**_decision(raw))


def shown_decision_of(raw: Any) -> ShownDecision:
    read = _Reader(raw, "decision")
    replay = read.optional("replay", dict)
    return ShownDecision(
        **_decision(raw),
        explained=read.required("explained", dict),
        rescored=read.optional("rescored", dict),
        replay=None if replay is None else _replay(replay),
    )


def _decision(raw: Any) -> dict[str, Any]:
    read = _Reader(raw, "decision")
    costs = read.optional("expected_costs_cents", dict)
    return {
        "decision_id": read.required("decision_id", str),
        "order_id": read.required("order_id", str),
        "payment_id": read.optional("payment_id", str),
        "action": read.required("action", str),
        "risk": read.required("risk", str),
        "source": read.required("source", str),
        "step": read.required("step", str),
        "degraded": read.required("degraded", bool),
        "reasons": tuple(_reason(one) for one in read.listed("reasons")),
        "rules": tuple(str(one) for one in read.listed("rules")),
        "score": read.optional("score", float),
        "hint": read.optional("hint", str),
        "expected_costs_cents": None if costs is None else {str(name): float(cost) for name, cost in costs.items()},
        "model_version": read.optional("model_version", str),
        "feature_version": read.optional("feature_version", str),
        "policy_version": read.optional("policy_version", str),
        "features_age_seconds": read.optional("features_age_seconds", float),
        "decided_at": _moment(read.required("decided_at", str)),
        "data": read.optional("data", str),
        "raw": read.raw,
    }


def result_of(raw: Any) -> DecisionResult:
    read = _Reader(raw, "result")
    found = read.optional("decision", dict)
    return DecisionResult(
        status=read.required("status", str),
        decision_id=read.required("decision_id", str),
        decision=None if found is None else decision_of(found),
    )


def found_of(raw: Any) -> ShownDecision | None:
    found = _Reader(raw, "found decision").optional("decision", dict)
    return None if found is None else shown_decision_of(found)


def recommendation_of(raw: Any) -> Recommendation:
    read = _Reader(raw, "recommendation")
    as_of = read.optional("as_of_date", str)
    return Recommendation(
        exposure_id=read.optional("exposure_id", str),
        placement=read.optional("placement", str),
        step=read.required("step", str),
        degraded=read.required("degraded", bool),
        profiling=read.required("profiling", bool),
        reason=read.optional("reason", str),
        items=tuple(_item(one) for one in read.listed("items")),
        model_version=read.optional("model_version", str),
        feature_version=read.optional("feature_version", str),
        policy_version=read.optional("policy_version", str),
        as_of_date=None if as_of is None else _day(as_of),
        features_age_seconds=read.optional("features_age_seconds", float),
        k=read.required("k", int),
        customer_id=read.optional("customer_id", str),
        raw=read.raw,
    )


def taken_of(raw: Any) -> EventTaken:
    read = _Reader(raw, "taken events")
    return EventTaken(
        taken=read.required("taken", int),
        known=read.required("known", int),
        conflicts=tuple(int(one) for one in read.listed("conflicts")),
        raw=read.raw,
    )


def each_of(name: str, read: Callable[[Any], T]) -> Callable[[Any], list[T]]:
    """A reader of an object that holds a list under a name."""

    def read_all(raw: Any) -> list[T]:
        return [read(one) for one in _Reader(raw, name).listed(name)]

    return read_all


def _reason(raw: Any) -> Reason:
    read = _Reader(raw, "reason")
    return Reason(read.required("code", str), read.optional("text", str), read.raw)


def _replay(raw: Any) -> Replay:
    read = _Reader(raw, "replay")
    differences = tuple(str(one) for one in read.listed("differences"))
    return Replay(read.optional("reproduced", bool), differences, read.optional("problem", str), read.raw)


def _item(raw: Any) -> Item:
    read = _Reader(raw, "item")
    return Item(read.required("product_id", str), read.required("rank", int), read.raw.get("reason"))


class _Reader:
    """Fields of an object, checked; an error names the field and never its value."""

    def __init__(self, raw: Any, what: str) -> None:
        if not isinstance(raw, Mapping):
            raise UnexpectedAnswer(f"{what}: expected a JSON object")
        self.raw, self._what = raw, what

    def required(self, name: str, kind: type[T]) -> T:
        found = self.optional(name, kind)
        if found is None:
            raise UnexpectedAnswer(f"{self._what}: the field {name} is missing")
        return found

    def optional(self, name: str, kind: type[T]) -> T | None:
        value = self.raw.get(name)
        if value is None:
            return None
        if kind is float and type(value) is int:
            return kind(value)  # type: ignore[call-arg]  # JSON has one kind of number
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise UnexpectedAnswer(f"{self._what}: the field {name} is not {kind.__name__}")
        return value

    def listed(self, name: str) -> Sequence[Any]:
        found: Sequence[Any] = self.optional(name, list) or []
        return found


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise UnexpectedAnswer("expected an ISO 8601 timestamp") from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UnexpectedAnswer("expected a date such as 2027-01-31") from None
