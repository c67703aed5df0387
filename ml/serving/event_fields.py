"""Fields of a posted JSON object, read strictly: what breaks a rule is told by place and rule, never a value."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ml.fraud.events import LARGEST_AMOUNT_CENTS, EventRefused, posted_moment, posted_text

LARGEST_QUANTITY = 1e9


class Fields:
    """One JSON object as it was read, and how its fields are read out of it.

    Args:
        place: Where the object is, such as `lines[2]`; empty for the event itself.
        now: What "future" is measured against; None for events that were measured when they were taken in.
    """

    def __init__(self, raw: Any, now: datetime | None, place: str = "") -> None:
        if not isinstance(raw, Mapping):
            raise EventRefused(place, "not_an_object", "a JSON object")
        self._raw, self._now, self._place = raw, now, place

    def refuse_unknown(self, known: frozenset[str]) -> None:
        """A field's name may be a value too, so it is not told."""
        if not known.issuperset(self._raw):
            raise EventRefused(self._place, "unknown_field", f"only {', '.join(sorted(known))}")

    def text(self, field: str, allowed: tuple[str, ...] = ()) -> str:
        value = posted_text(self._path(field), self._raw.get(field))
        if allowed and value not in allowed:
            raise self.refusal(field, "not_allowed", ", ".join(allowed))
        return value

    def text_or_none(self, field: str) -> str | None:
        return None if self._raw.get(field) is None else self.text(field)

    def truth(self, field: str) -> bool:
        value = self._value(field)
        if not isinstance(value, bool):
            raise self.refusal(field, "wrong_type", "true or false")
        return value

    def cents(self, field: str) -> int:
        value = self._value(field)
        if type(value) is not int:
            raise self.refusal(field, "wrong_type", "a whole number of cents")
        if not 0 <= value <= LARGEST_AMOUNT_CENTS:
            raise self.refusal(field, "out_of_range", f"0 to {LARGEST_AMOUNT_CENTS}")
        return value

    def cents_or_none(self, field: str) -> int | None:
        return None if self._raw.get(field) is None else self.cents(field)

    def quantity(self, field: str) -> float:
        value = self._value(field)
        if type(value) not in (int, float):
            raise self.refusal(field, "wrong_type", "a number")
        if not (0 < value <= LARGEST_QUANTITY and math.isfinite(value)):
            raise self.refusal(field, "out_of_range", f"above 0, at most {LARGEST_QUANTITY:.0f}")
        return float(value)

    def moment(self, field: str) -> str:
        """A timestamp that is neither out of range nor in the future, in UTC, ISO 8601."""
        return posted_moment(self._path(field), self._raw.get(field), self._now).isoformat()

    def objects(self, field: str, most: int) -> list["Fields"]:
        value = self._value(field)
        if not isinstance(value, list):
            raise self.refusal(field, "wrong_type", "a list of objects")
        if not 1 <= len(value) <= most:
            raise self.refusal(field, "out_of_range", f"1 to {most} objects")
        return [Fields(one, self._now, f"{self._path(field)}[{index}]") for index, one in enumerate(value)]

    def _value(self, field: str) -> Any:
        value = self._raw.get(field)
        if value is None:
            raise self.refusal(field, "missing", "a value")
        return value

    def refusal(self, field: str, reason: str, allowed: str) -> EventRefused:
        return EventRefused(self._path(field), reason, allowed)

    def _path(self, field: str) -> str:
        return f"{self._place}.{field}" if self._place else field
