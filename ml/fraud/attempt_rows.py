"""Attempts to pay as rows: the fields that follow from the request alone, and the counted features beside them.

The own fields are those of dbt's `feat_order_risk`, computed as it does; a test holds the two together.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from ml.fraud.declaration import declaration
from ml.fraud.derived import Values
from ml.fraud.events import Attempt
from ml.fraud.features import CHANNEL_CODES, ORDER_FEATURES, OTHER_CHANNEL
from ml.fraud.online_state import Feature
from ml.fraud.order_table import Floats, OrderTable
from ml.fraud.standin import VELOCITIES

OWN_COLUMNS: tuple[str, ...] = (*ORDER_FEATURES, "amount_cents", "channel")
COUNTED: tuple[str, ...] = declaration().counted_features()
_PLACE: dict[Hashable, int] = {name: at for at, name in enumerate((*OWN_COLUMNS, *COUNTED))}
_CHANNEL = _PLACE["channel"]
_DAY_US = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAN = float("nan")
_NO_COUNTS = (None,) * len(COUNTED)
_counted_of = itemgetter(*COUNTED)


@dataclass(frozen=True)
class OwnFields:
    """What a request tells of its order by itself; None for what it does not.

    Attributes:
        day: Shop day of the attempt, YYYY-MM-DD.
        day_of_week: 1 is Monday.
    """

    day: str
    hour_of_day: int
    day_of_week: int
    account_age_days: float | None
    is_billing_shipping_same: bool | None
    channel: str | None


def own_fields(attempt: Attempt, zone: ZoneInfo) -> OwnFields:
    """The own fields of an attempt, in the shop's time zone."""
    event, values = attempt.event, attempt.event.values
    local = (_EPOCH + timedelta(microseconds=event.attempted_at)).astimezone(zone)
    created_at = attempt.account_created_at
    billing, shipping = values.get("billing_address_hash"), values.get("shipping_address_hash")
    return OwnFields(
        day=local.date().isoformat(),
        hour_of_day=local.hour,
        day_of_week=local.isoweekday(),
        account_age_days=None if created_at is None else (event.attempted_at - created_at) / _DAY_US,
        is_billing_shipping_same=None if billing is None or shipping is None else billing == shipping,
        channel=values.get("channel"),
    )


@dataclass(frozen=True)
class AttemptRows:
    """n attempts.

    Attributes:
        raw: n x (`OWN_COLUMNS`, then `COUNTED`), float32, missing as NaN.
        has_counts: Which have their counted features.
        ids: Order ids.
        times: When they were attempted, nanoseconds since 1970.
        days: Shop days, YYYY-MM-DD.
    """

    attempts: Sequence[Attempt]
    own: Sequence[OwnFields]
    counted: Sequence[Mapping[str, Feature] | None]
    velocities: Sequence[Mapping[str, int] | None]
    raw: Values
    has_counts: npt.NDArray[np.bool_]
    ids: npt.NDArray[np.object_]
    times: npt.NDArray[np.int64]
    days: npt.NDArray[np.object_]

    @classmethod
    def read(
        cls,
        attempts: Sequence[Attempt],
        counted: Sequence[Mapping[str, Feature] | None],
        velocities: Sequence[Mapping[str, int] | None],
        zone: ZoneInfo,
    ) -> "AttemptRows":
        own = [own_fields(one, zone) for one in attempts]
        raw = np.array(
            [_raw(one, fields, counts) for one, fields, counts in zip(attempts, own, counted, strict=True)],
            dtype=np.float64,
        )
        with np.errstate(over="ignore"):
            narrow = raw.astype(np.float32)
        return cls(
            attempts, own, counted, velocities, narrow,
            has_counts=np.array([one is not None for one in counted], dtype=np.bool_),
            ids=np.array([one.event.order_id for one in attempts], dtype=object),
            times=np.array([one.event.attempted_at * 1000 for one in attempts], dtype=np.int64),
            days=np.array([fields.day for fields in own], dtype=object),
        )  # fmt: skip

    @property
    def n(self) -> int:
        return len(self.attempts)

    def single(self, at: int) -> "AttemptRows":
        """One of them."""
        some = slice(at, at + 1)
        return AttemptRows(
            self.attempts[some], self.own[some], self.counted[some], self.velocities[some],
            self.raw[some], self.has_counts[some], self.ids[some], self.times[some], self.days[some],
        )  # fmt: skip

    def table(self) -> OrderTable:
        """What rules, lists, costs and limits look at, with the precision that the batch has it in."""
        return OrderTable(self.n, {}, self._column)

    @cached_property
    def _wide(self) -> Floats:
        wide = self.raw.astype(np.float64)
        # An order's own numbers are exact in the mart, its counts are read as float32.
        wide[:, _PLACE["amount_cents"]] = [one.event.amount_cents for one in self.attempts]
        wide[:, _PLACE["account_age_days"]] = [
            _NAN if own.account_age_days is None else own.account_age_days for own in self.own
        ]
        return np.where(np.isfinite(wide), wide, np.nan)

    def _column(self, name: str, is_number: bool) -> npt.NDArray[Any] | None:
        if is_number:
            place = _PLACE.get(name)
            if place is None:
                return None
            return self._with_velocities(name, self._wide[:, place])
        if name == "currency":
            return np.array([one.currency for one in self.attempts], dtype=object)
        return np.array([one.event.values.get(name) for one in self.attempts], dtype=object)

    def _with_velocities(self, name: str, column: Floats) -> Floats:
        if name not in VELOCITIES or self.has_counts.all():
            return column
        known = [_NAN if one is None else float(one.get(name, _NAN)) for one in self.velocities]
        return np.where(self.has_counts, column, known)

    def record(self, at: int) -> Mapping[Hashable, Any]:
        """A row as reasons are told from: numbers as the model saw them, missing as NaN."""
        own: dict[Hashable, Any] = {
            "amount_cents": self.attempts[at].event.amount_cents,
            "channel": self.own[at].channel,
        }
        return _Record(self.raw[at], own)

    def as_mapping(self, at: int) -> dict[str, Any]:
        """A row as it is kept: own fields, then what was counted, or the velocities in its place."""
        own, attempt = self.own[at], self.attempts[at]
        kept: dict[str, Any] = {
            "attempt_date": own.day,
            "hour_of_day": own.hour_of_day,
            "day_of_week": own.day_of_week,
            "account_age_days": own.account_age_days,
            "is_billing_shipping_same": own.is_billing_shipping_same,
            "amount_cents": attempt.event.amount_cents,
            "channel": own.channel,
        }
        counts = self.counted[at]
        kept |= (self.velocities[at] or {}) if counts is None else counts
        return kept


class _Record(Mapping[Hashable, Any]):
    """A row by name; few of its many values are ever asked for."""

    def __init__(self, raw: Values, own: Mapping[Hashable, Any]) -> None:
        self._raw, self._own = raw, own

    def __getitem__(self, name: Hashable) -> Any:
        return self._own[name] if name in self._own else float(self._raw[_PLACE[name]])

    def __iter__(self) -> Iterator[Hashable]:
        return iter(_PLACE)

    def __len__(self) -> int:
        return len(_PLACE)


def _raw(attempt: Attempt, own: OwnFields, counted: Mapping[str, Feature] | None) -> list[float | None]:
    """In the order of `_PLACE`; numpy makes NaN of None."""
    channel = own.channel
    values: list[float | None] = [
        own.hour_of_day,
        own.day_of_week,
        own.account_age_days,
        own.is_billing_shipping_same,
        attempt.event.amount_cents,
        None if channel is None else CHANNEL_CODES.get(channel, OTHER_CHANNEL),
    ]
    return [*values, *(_NO_COUNTS if counted is None else _counted_of(counted))]
