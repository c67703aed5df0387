"""What a feature of the model speaks of: its group, and the entity and window that its name holds.

The names follow `ml.fraud.declaration` and what `ml.fraud.features` derives from them; nothing here lists features one
by one, so a feature that is declared tomorrow belongs to a group already.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from ml.fraud.declaration import EVER, declaration
from ml.fraud.derived import derived_from

SHOP = "shop"
OTHER = "other"

KIND_OF_FORM = {
    "fraud_rate": "fraud_history",
    "frauds": "fraud_history",
    "failed": "failures",
    "pair": "novelty",
    "known_orders": "familiarity",
    "first": "familiarity",
    "orders": "velocity",
    "spent": "velocity",
    "last": "velocity",
    "mean": "amount_against_normal",
    "deviation": "amount_against_normal",
    "sharing": "sharing",
}
# What a derived feature is about, by a word of its name; the first that is found counts.
_KIND_OF_WORD = {
    "fraud": "fraud_history",
    "frauds": "fraud_history",
    "failed": "failures",
    "amount": "amount_against_normal",
    "new": "novelty",
    "first": "familiarity",
    "velocity": "velocity",
}
# The same for what speaks of the order itself, or of all that it was made with.
_KIND_OF_ORDER = {
    "fraud": "fraud_history",
    "frauds": "fraud_history",
    "failed": "failures",
    "amount": "amount",
    "hour": "time",
    "day": "time",
    "account": "account",
    "billing": "addresses",
    "channel": "channel",
    "new": "novelty",
    "velocity": "velocity",
}


@dataclass(frozen=True)
class Named:
    """A feature's name, taken apart.

    Attributes:
        form: A key of `KIND_OF_FORM`; None for a name that is none of the declaration's.
        entity: The entity spoken of; for a derived feature the one that all its inputs speak of.
        second: The other entity of a pair, or what an entity is shared by.
        window: A declared window or `ever`.
    """

    form: str | None
    entity: str | None = None
    second: str | None = None
    window: str | None = None


_FORMS = (
    ("fraud_rate", r"fraud_rate_{entity}_{window}"),
    ("frauds", r"count_frauds_{entity}_{window}"),
    ("failed", r"count_failed_{entity}_{window}"),
    ("pair", r"count_orders_{entity}_{second}_ever"),
    ("known_orders", r"count_orders_{entity}_ever"),
    ("orders", r"count_orders_{entity}_{window}"),
    ("spent", r"amount_cents_{entity}_{window}"),
    ("first", r"seconds_since_first_{entity}"),
    ("last", r"seconds_since_last_{entity}"),
    ("mean", r"mean_amount_cents_{entity}_ever"),
    ("deviation", r"deviation_amount_cents_{entity}_ever"),
)


@lru_cache(maxsize=4096)
def group_of(feature: str) -> str:
    """The one group that a feature belongs to: a kind, and the entity it speaks of if it speaks of one."""
    name = named(feature)
    kind = KIND_OF_FORM[name.form] if name.form else _kind_by_words(feature, name)
    if kind is None:
        return OTHER
    return f"{kind}_{name.entity}" if name.entity else kind


def _kind_by_words(feature: str, name: Named) -> str | None:
    words = feature.split("_")
    for word, kind in (_KIND_OF_WORD if name.entity else _KIND_OF_ORDER).items():
        if word in words:
            return kind
    forms = [form for one in inputs_of(feature) if (form := named(one).form)]
    return KIND_OF_FORM[forms[-1]] if forms else None


@lru_cache(maxsize=4096)
def named(feature: str) -> Named:
    """A feature's name, taken apart."""
    for form, pattern in _patterns():
        match = pattern.fullmatch(feature)
        if match:
            found = match.groupdict()
            return Named(form, found.get("entity"), found.get("second"), found.get("window"))
    for sharing in declaration().sharing:
        if sharing.feature == feature:
            return Named("sharing", sharing.entity, sharing.of, sharing.window)
    entities = {entity for one in inputs_of(feature) if (entity := named(one).entity) not in (None, SHOP)}
    return Named(None, entities.pop() if len(entities) == 1 else None)


def inputs_of(feature: str) -> tuple[str, ...]:
    """The columns that a derived feature is computed from; none of another."""
    return _inputs().get(feature, ())


@lru_cache(maxsize=1)
def _inputs() -> dict[str, tuple[str, ...]]:
    return {one.name: one.inputs for one in derived_from(declaration())}


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    entities = "|".join(map(re.escape, _entities()))
    windows = "|".join(map(re.escape, [*declaration().window_seconds, EVER]))
    parts = {
        "entity": f"(?P<entity>{entities})",
        "second": f"(?P<second>{entities})",
        "window": f"(?P<window>{windows})",
    }
    return tuple((form, re.compile(pattern.format(**parts))) for form, pattern in _FORMS)


def _entities() -> list[str]:
    """Entities, longer names first: `ip_country` is not `ip`."""
    return sorted([*declaration().entities, SHOP], key=len, reverse=True)
