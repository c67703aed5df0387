"""A policy from its YAML. Whatever is not exactly right is refused, with file, line, key and what is allowed."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from ml.fraud.expression import MAX_LENGTH, Expression, ExpressionRefused, read_expression
from ml.fraud.fields import SCORE, known_fields
from ml.fraud.policy import (
    ACTIONS,
    Action,
    Breaker,
    Costs,
    Exploration,
    FairnessSwitch,
    Policy,
    Reviews,
    Rule,
    Segment,
    StandIn,
)
from ml.strict_yaml import Entry, FileRefused, read_strictly

DEFAULT_POLICY = Path(__file__).with_name("default_policy.yml")

MAX_BYTES = 65_536
MAX_RULES = 100
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_MOST_CENTS = 1_000_000_000.0


@dataclass(frozen=True)
class _Number:
    """A number's range; `whole` numbers have no decimals, and `above` is not itself allowed."""

    low: float
    high: float
    whole: bool = False
    above: bool = False

    def read(self, entry: Entry) -> float | int:
        value = entry.value
        kind = "a whole number" if self.whole else "a number"
        start = "above" if self.above else "from"
        allowed = f"expected {kind} {start} {self.low:,g} to {self.high:,g}"
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, Decimal)):
            raise entry.refuse(allowed)
        if not self.low <= value <= self.high or (self.above and value == self.low):
            raise entry.refuse(allowed)
        return int(value) if self.whole else float(value)


_SHARE = _Number(0, 1)
_CENTS = _Number(0, _MOST_CENTS)
_LIMIT_CENTS = _Number(1, _MOST_CENTS, whole=True)

_COSTS = {
    "fraud_loss_share": _Number(0, 10, above=True),
    "chargeback_fee_cents": _CENTS,
    "margin_share": _Number(0, 1, above=True),
    "lost_customer_share": _SHARE,
    "lifetime_value_cents": _CENTS,
    "lifetime_orders": _Number(0, 10_000),
    "review_cents": _CENTS,
    "review_catch_share": _SHARE,
    "review_wrong_share": _SHARE,
    "challenge_cents": _CENTS,
    "challenge_stop_share": _SHARE,
    "challenge_abandon_share": _SHARE,
}
_REVIEWS = {"per_day": _Number(1, 1_000_000, whole=True), "minimum_saving_cents": _CENTS}
_EXPLORATION = {"share": _Number(0, 0.5), "per_day": _Number(1, 1_000_000, whole=True)}
_STANDIN = {
    "amount_cents": _LIMIT_CENTS,
    "orders_per_day": _Number(1, 100_000, whole=True),
    "account_age_days": _Number(0, 36_500),
    "cents_per_day": _LIMIT_CENTS,
    "assumed_probability": _Number(0, 1, above=True),
}
_BREAKER = {
    "declines": _Number(1, 1_000_000, whole=True),
    "share": _SHARE,
    "window_hours": _Number(0, 24 * 31, above=True),
}
_SECTIONS = (
    "name", "actions", "costs", "reviews", "exploration", "standin", "breaker", "segments", "rules", "fairness",
)  # fmt: skip


def read_policy(text: str, name: str) -> Policy:
    """The policy of a file.

    Args:
        text: The file's content, at most `MAX_BYTES` in UTF-8.
        name: What the file is called in errors.

    Raises:
        FileRefused: A key is unknown, missing or given twice, or a value is not allowed.
    """
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise FileRefused(name, 1, "", f"expected at most {MAX_BYTES} bytes")
    root = read_strictly(text, name)
    _check_keys(root, _SECTIONS, required=("name", "costs"))
    sections: dict[str, Entry] = root.value
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    title = _name(sections["name"])
    costs = Costs(**_numbers(sections["costs"], _COSTS, required=tuple(_COSTS)))
    actions = _actions(sections.get("actions"))
    standin = _standin(sections.get("standin"), StandIn(), actions)
    breaker = replace(Breaker(), **_numbers(sections.get("breaker"), _BREAKER))
    return Policy(
        name=title,
        version=f"{title}-{digest}",
        actions=actions,
        costs=costs,
        reviews=replace(Reviews(per_day=20), **_numbers(sections.get("reviews"), _REVIEWS)),
        exploration=_exploration(sections.get("exploration"), actions),
        standin=standin,
        segments=_segments(sections.get("segments"), costs, standin, actions),
        rules=_rules(sections.get("rules"), breaker, actions),
        fairness=_fairness(sections.get("fairness")),
        body=text,
    )


@lru_cache(maxsize=1)
def default_policy() -> Policy:
    """The policy that decides until a shop has made one of its own active."""
    return read_policy(DEFAULT_POLICY.read_text(), DEFAULT_POLICY.name)


def _condition(entry: Entry, *, of_order_alone: bool = False) -> Expression:
    """The condition that an entry holds. A segment's is of the order alone: costs may not hang on the score."""
    known = {name: kind for name, kind in known_fields().items() if name != SCORE or not of_order_alone}
    try:
        return read_expression(_text(entry, MAX_LENGTH), known)
    except ExpressionRefused as error:
        raise entry.refuse(str(error)) from None


def _check_keys(entry: Entry, known: Sequence[str], required: Sequence[str] = ()) -> None:
    if not isinstance(entry.value, dict):
        raise entry.refuse(f"expected a map of the keys {', '.join(known)}")
    for key, held in entry.value.items():
        if key not in known:
            raise held.refuse(f"unknown key; known are {', '.join(known)}")
    absent = [key for key in required if key not in entry.value]
    if absent:
        raise entry.refuse(f"missing: {', '.join(absent)}")


def _numbers(entry: Entry | None, ranges: Mapping[str, _Number], required: Sequence[str] = ()) -> dict[str, Any]:
    if entry is None:
        return {}
    _check_keys(entry, list(ranges), required)
    return {key: ranges[key].read(held) for key, held in entry.value.items()}


def _text(entry: Entry, most: int) -> str:
    value = entry.value
    if not isinstance(value, str) or not value.strip() or len(value) > most:
        raise entry.refuse(f"expected a text of 1 to {most:,} characters; quote one that looks like a number")
    return value.strip()


def _name(entry: Entry) -> str:
    value = entry.value
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise entry.refuse("expected a name of at most 60 small letters, digits and _, beginning with a letter")
    return value


def _action(entry: Entry, allowed: Sequence[Action]) -> Action:
    for action in allowed:
        if entry.value == action:
            return action
    raise entry.refuse(f"expected one of {', '.join(allowed)}")


def _list(entry: Entry | None, most: int) -> list[Entry]:
    if entry is None:
        return []
    if not isinstance(entry.value, list) or len(entry.value) > most:
        raise entry.refuse(f"expected a list of at most {most}")
    return entry.value


def _actions(entry: Entry | None) -> tuple[Action, ...]:
    if entry is None:
        return ACTIONS
    given = {_action(held, ACTIONS) for held in _list(entry, len(ACTIONS))}
    if "approve" not in given:
        raise entry.refuse("approve has to be in it")
    return tuple(action for action in ACTIONS if action in given)


def _exploration(entry: Entry | None, actions: Sequence[Action]) -> Exploration:
    if entry is None:
        return Exploration()
    read = Exploration(**_numbers(entry, _EXPLORATION, required=tuple(_EXPLORATION)))
    if read.share > 0 and "review" not in actions:
        raise entry.value["share"].refuse("expected 0 where review is not among the actions")
    return read


def _standin(entry: Entry | None, basis: StandIn, actions: Sequence[Action]) -> StandIn:
    stricter = [action for action in actions if action != "approve"]
    numbers: dict[str, Any] = {}
    if entry is not None:
        _check_keys(entry, [*_STANDIN, "over_limits"])
        numbers = {key: _STANDIN[key].read(held) for key, held in entry.value.items() if key in _STANDIN}
        if "over_limits" in entry.value:
            numbers["over_limits"] = _action(entry.value["over_limits"], stricter)
    read = replace(basis, **numbers)
    if read.over_limits not in actions:  # the basis' own, which this policy does not take
        read = replace(read, over_limits=stricter[0] if stricter else "approve")
    return read


def _segments(entry: Entry | None, costs: Costs, standin: StandIn, actions: Sequence[Action]) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    for part in _list(entry, MAX_RULES):
        _check_keys(part, ("name", "when", "costs", "standin"), required=("name", "when"))
        held: dict[str, Entry] = part.value
        title = _name(held["name"])
        if title in {segment.name for segment in segments}:
            raise held["name"].refuse("given twice")
        own_costs = replace(costs, **_numbers(held.get("costs"), _COSTS))
        segments.append(
            Segment(
                title,
                _condition(held["when"], of_order_alone=True),
                own_costs,
                _standin(held.get("standin"), standin, actions),
            )
        )
    return tuple(segments)


def _rules(entry: Entry | None, breaker: Breaker, actions: Sequence[Action]) -> tuple[Rule, ...]:
    rules: list[Rule] = []
    stricter = [action for action in actions if action != "approve"]
    for part in _list(entry, MAX_RULES):
        _check_keys(part, ("name", "when", "action", "why", "breaker"), required=("name", "when", "action", "why"))
        held: dict[str, Entry] = part.value
        title = _name(held["name"])
        if title in {rule.name for rule in rules}:
            raise held["name"].refuse("given twice")
        rules.append(
            Rule(
                name=title,
                when=_condition(held["when"]),
                action=_action(held["action"], stricter),
                why=_text(held["why"], 200),
                breaker=replace(breaker, **_numbers(held.get("breaker"), _BREAKER)),
            )
        )
    return tuple(rules)


def _fairness(entry: Entry | None) -> FairnessSwitch:
    if entry is None:
        return FairnessSwitch()
    _check_keys(entry, ("group_aware", "legal_basis", "grouping", "probability_factors"), required=("group_aware",))
    held: dict[str, Entry] = entry.value
    if not isinstance(held["group_aware"].value, bool):
        raise held["group_aware"].refuse("expected true or false")
    if not held["group_aware"].value:
        stray = [key for key in held if key != "group_aware"]
        if stray:
            raise held[stray[0]].refuse("only allowed while group_aware is true")
        return FairnessSwitch()
    _check_keys(entry, tuple(held), required=("legal_basis", "grouping", "probability_factors"))
    return FairnessSwitch(
        group_aware=True,
        legal_basis=_text(held["legal_basis"], 500),
        grouping=_name(held["grouping"]),
        probability_factors=_factors(held["probability_factors"]),
    )


def _factors(entry: Entry) -> tuple[tuple[str, float], ...]:
    allowed = _Number(0, 10, above=True)
    factors: dict[str, float] = {}
    for part in _list(entry, MAX_RULES):
        _check_keys(part, ("group", "factor"), required=("group", "factor"))
        group = _text(part.value["group"], 100)
        if group in factors:
            raise part.value["group"].refuse("given twice")
        factors[group] = float(allowed.read(part.value["factor"]))
    if not factors:
        raise entry.refuse("expected a list of at least one group and factor")
    return tuple(factors.items())
