"""Freshness objectives: how old the newest data of each table, and what is published from it, may be.

An objective is one sentence: "by 06:00, at most 1 day". At that time of each day the newest landed day may be that many
days old, yesterday being 1 day old; before that time, one day more. A live shop is held against the wall clock. A
replayed source has no arrivals that a clock could expect: there no table may lag behind the newest landed day by
more than the objective's days. What is published is held against the strictest objective of the tables of events.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Literal

from ml.settings import PREFIX, SettingsError
from ml.shop.contract import CONTRACT
from ml.shop.contract.table import TableKind

State = Literal["ok", "missed", "unknown"]

PUBLISHED = ("marts", "features", "recommendations")
"""What is published, in the order in which one is made from the other."""

# Building, judging and publishing a day takes minutes; a retry after an accident takes longer.
TIME_TO_PUBLISH = timedelta(hours=3)
_BY = r"by (?P<by>[0-2]\d:[0-5]\d)"
_AGE = r"at most (?P<days>[1-9]\d{0,3}) days?"
_FORMS = tuple(re.compile(form) for form in (f"{_BY}, {_AGE}", f"{_BY}(?P<days>)", f"(?P<by>){_AGE}"))
_NEVER = "never"
_EXPECTED = '"by 06:00, at most 1 day", "by 06:00", "at most 7 days" or "never"'


@dataclass(frozen=True)
class Objective:
    """
    Attributes:
        by: Shop-local time of day at which the newest day is counted one day older; None for midnight.
        days: Largest age of the newest day, in days; yesterday is 1 day old.
    """

    by: time | None
    days: int

    def required_day(self, now: datetime) -> date:
        """The day that must be there by a shop-local moment."""
        is_due = self.by is not None and now.time() >= self.by
        return now.date() - timedelta(days=self.days if is_due else self.days + 1)

    def sentence(self) -> str:
        by = f"by {self.by:%H:%M}, " if self.by else ""
        return f"{by}at most {self.days} day{'s' if self.days != 1 else ''}"


@dataclass(frozen=True)
class Reached:
    """How far something has come.

    Attributes:
        day: The newest shop day; None when there is none.
        problem: Why it cannot be told.
    """

    day: date | None
    problem: str | None = None


@dataclass(frozen=True)
class Freshness:
    """One verdict.

    Attributes:
        object: A table, or one of `PUBLISHED`.
        required: The oldest day that its newest day may be; None when that cannot be told.
        objective: The sentence that it was held against.
        why: Why the state is unknown.
        is_absent: Nothing of it was ever there.
    """

    object: str
    state: State
    newest: date | None
    required: date | None
    objective: str
    why: str = ""
    is_absent: bool = False

    @property
    def is_published(self) -> bool:
        return self.object in PUBLISHED

    @property
    def days_late(self) -> int:
        if self.newest is None or self.required is None:
            return 0
        return max(0, (self.required - self.newest).days)

    def mark(self) -> str | None:
        """The line that stands wherever it is shown; None when there is nothing to say."""
        if self.state == "ok":
            return None
        if self.state == "unknown":
            return f"perhaps stale: it is not known how old the {self.object} are ({self.why})"
        days = f"{self.days_late} day{'s' if self.days_late != 1 else ''}"
        return f"stale: {self.object} are of {self.newest}, {days} older than allowed"


def objectives(overrides: Mapping[str, str]) -> dict[str, Objective]:
    """The objective of each table that has one: the contract's, or what the settings say instead.

    Raises:
        SettingsError: An unknown table, or a sentence that cannot be read.
    """
    unknown = sorted(set(overrides) - set(CONTRACT))
    if unknown:
        raise SettingsError(f"{PREFIX}FRESHNESS: no table {', '.join(unknown)}; tables are {', '.join(CONTRACT)}")
    found = {}
    for name, table in CONTRACT.items():
        if name in overrides:
            objective = _read(name, overrides[name])
        elif table.expected_by is None and table.max_age_days is None:
            objective = None
        else:
            objective = Objective(table.expected_by, table.max_age_days or 1)
        if objective is not None:
            found[name] = objective
    return found


def _read(table: str, sentence: str) -> Objective | None:
    if sentence.strip() == _NEVER:
        return None
    match = next(filter(None, (form.fullmatch(sentence.strip()) for form in _FORMS)), None)
    try:
        if match is not None:
            return Objective(time.fromisoformat(match["by"]) if match["by"] else None, int(match["days"] or 1))
    except ValueError:  # such as 25:00
        pass
    raise SettingsError(f"{PREFIX}FRESHNESS: {table}: expected such as {_EXPECTED}")


def judge(
    wanted: Mapping[str, Objective],
    landed: Mapping[str, Reached],
    published: Mapping[str, Reached],
    now: datetime | None,
) -> list[Freshness]:
    """Verdicts on the tables that have an objective, then on what is published.

    Args:
        landed: By table.
        published: By the names of `PUBLISHED`.
        now: Shop-local wall clock of a live shop; None for a replayed source, which is held against what has landed.
    """
    return [*_of_tables(wanted, landed, now), *_of_published(wanted, landed, published, now)]


def _of_tables(
    wanted: Mapping[str, Objective], landed: Mapping[str, Reached], now: datetime | None
) -> Iterator[Freshness]:
    clock = _newest(landed)
    for table, objective in wanted.items():
        if now is not None:
            required: date | None = objective.required_day(now)
        else:
            required = None if clock is None else clock - timedelta(days=objective.days)
        yield _verdict(table, landed.get(table, Reached(None)), required, objective.sentence(), "nothing has landed")


def _of_published(
    wanted: Mapping[str, Objective],
    landed: Mapping[str, Reached],
    published: Mapping[str, Reached],
    now: datetime | None,
) -> Iterator[Freshness]:
    events = [name for name in wanted if CONTRACT[name].kind is TableKind.EVENT]
    if not events:
        return
    strictest = min((wanted[name] for name in events), key=lambda objective: objective.days)
    clock = _newest({name: landed[name] for name in events if name in landed})
    if now is not None:
        required: date | None = max(wanted[name].required_day(now - TIME_TO_PUBLISH) for name in events)
        sentence = f"{strictest.sentence()}, {TIME_TO_PUBLISH.seconds // 3600} h to publish"
    else:
        required = None if clock is None else clock - timedelta(days=strictest.days)
        sentence = f"at most {strictest.days} day{'s' if strictest.days != 1 else ''} behind what has landed"
    for name in PUBLISHED:
        yield _verdict(name, published.get(name, Reached(None)), required, sentence, "nothing is published")


def _verdict(name: str, reached: Reached, required: date | None, sentence: str, nothing: str) -> Freshness:
    if reached.problem is not None:
        return Freshness(name, "unknown", None, required, sentence, reached.problem)
    if reached.day is None:
        return Freshness(name, "unknown", None, required, sentence, nothing, is_absent=True)
    if required is None:
        return Freshness(name, "unknown", reached.day, None, sentence, "nothing has landed to hold it against")
    return Freshness(name, "ok" if reached.day >= required else "missed", reached.day, required, sentence)


def _newest(landed: Mapping[str, Reached]) -> date | None:
    return max((reached.day for reached in landed.values() if reached.day is not None), default=None)
