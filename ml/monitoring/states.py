"""The four states of a monitor, and how bad each is."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["ok", "warn", "unknown", "alert"]

# Unknown is worse than a warning: nobody knows whether it hides an alert.
_ORDER: tuple[State, ...] = ("ok", "warn", "unknown", "alert")


@dataclass(frozen=True)
class MonitorState:
    """One row of `monitor_states`, without its day.

    Attributes:
        value: The figure that was judged; None when it is unknown or there is none.
        threshold: What `value` was held against for an alert.
        detail: JSON; names and counts. `why` says why a state is unknown, and `expected` that this is no failure.
    """

    monitor: str
    object: str
    state: State
    value: float | None = None
    threshold: float | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def is_failure(self) -> bool:
        """Whether the check could not be made though it should have been."""
        return self.state == "unknown" and not self.detail.get("expected", False)


def unknown(monitor: str, judged: str, why: str, *, expected: bool) -> MonitorState:
    """A state of which nothing is known."""
    return MonitorState(monitor, judged, "unknown", detail={"why": why, "expected": expected})


def part_of(judged: str, part: str) -> str:
    """Object of a state that is about a part of something, such as a feature of a product."""
    return f"{judged}: {part}"


def whole_of(judged: str) -> str:
    """The object that a part belongs to; an object that is no part is its own whole."""
    return judged.split(": ", maxsplit=1)[0]


def badness(state: State) -> int:
    """Place of a state in the order ok, warn, unknown, alert."""
    return _ORDER.index(state)


def worst(states: Iterable[State]) -> State:
    """The worst of some states; `ok` of none."""
    return max(states, key=badness, default="ok")


def by_thresholds(value: float, warn: float, alert: float) -> State:
    """State of a figure of which more is worse."""
    if value >= alert:
        return "alert"
    return "warn" if value >= warn else "ok"
