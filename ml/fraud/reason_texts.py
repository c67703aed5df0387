"""The words of a reason: the value that moved a group of features most, beside what is usual.

What is usual is the entity's own past: its mean amount, its orders over the longest counted window shared out over
the window spoken of, the mean time between its orders. The texts name no identifiers.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ml.fraud.declaration import EVER, declaration
from ml.fraud.feature_names import KIND_OF_FORM, SHOP, Named, inputs_of, named
from ml.fraud.reason_titles import entity_words, title_of

Row = Mapping[Any, Any]
Told = dict[str, Any]

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def say(row: Row, code: str, features: Sequence[str]) -> Told:
    """The first of a group's features that can be said of a row; the group's name where none can.

    Args:
        features: Those that moved the group most come first.

    Returns:
        text, feature, value, usual.
    """
    for feature in features:
        told = _say_feature(row, feature, code)
        if told is not None:
            text, value, usual = told
            return {"text": text, "feature": feature, "value": value, "usual": usual}
    return {
        "text": _say_missing(row, code, named(features[0]).entity),
        "feature": features[0],
        "value": None,
        "usual": None,
    }


def _say_missing(row: Row, code: str, entity: str | None) -> str:
    """A null entity counts nothing, and a first order has nothing to compare with: the model learns from that too."""
    if entity is None or entity == SHOP:
        return title_of(code)
    if number(row, f"count_orders_{entity}_{EVER}") is None:
        return f"No {entity_words(entity)} is known for this order"
    return f"{title_of(code)}: nothing to compare with yet"


Said = tuple[str, Any, float | None]


def _say_feature(row: Row, feature: str, code: str) -> Said | None:
    name = named(feature)
    if name.form is not None:
        value = number(row, feature)
        return None if value is None else _SAYINGS[name.form](row, name, value)
    if "amount" in feature.split("_"):
        return _amount_beside_mean(row, name.entity) if name.entity else _amount(row)
    counted = [one for one in inputs_of(feature) if _is_of_kind(one, code) and number(row, one) is not None]
    if not counted:
        return _say_of_order(row, feature)
    pairs = [one for one in counted if named(one).form == "pair"]
    if len(pairs) > 1:
        return _say_new(row, pairs)
    # What is the worst of several is told by that one; a ratio by what it is the ratio of.
    told = counted[0] if name.entity else max(counted, key=lambda one: number(row, one) or 0.0)
    return _say_feature(row, told, code)


def _say_new(row: Row, pairs: Sequence[str]) -> Said:
    names = [named(one) for one in pairs if number(row, one) == 0]
    known = [named(one) for one in pairs if number(row, one) != 0]
    first = entity_words(str((names or known)[0].entity))
    if not names:
        return f"Nothing is new for this {first}", 0.0, None
    return (
        f"New for this {first}: {', '.join(entity_words(str(name.second)) for name in names)}",
        float(len(names)),
        None,
    )


def _is_of_kind(feature: str, code: str) -> bool:
    name = named(feature)
    return name.form is not None and name.entity != SHOP and code.startswith(KIND_OF_FORM[name.form])


def _say_orders(row: Row, name: Named, value: float) -> Said | None:
    assert name.entity and name.window
    usual = _share_of_longest(row, "count_orders", name)
    return (
        f"{_count(value, 'earlier order')} of this {entity_words(name.entity)} in {_period(name.window)}",
        value,
        usual,
    )


def _say_failed(row: Row, name: Named, value: float) -> Said | None:
    assert name.entity and name.window
    text = f"{_count(value, 'failed payment')} of this {entity_words(name.entity)} in {_period(name.window)}"
    return text, value, _share_of_longest(row, "count_failed", name)


def _say_spent(row: Row, name: Named, value: float) -> Said | None:
    assert name.entity and name.window
    text = f"{_money(value)} spent with this {entity_words(name.entity)} in {_period(name.window)}"
    return text, value, _share_of_longest(row, "amount_cents", name)


def _say_last(row: Row, name: Named, value: float) -> Said | None:
    assert name.entity
    count = number(row, f"count_orders_{name.entity}_{EVER}")
    first = number(row, f"seconds_since_first_{name.entity}")
    usual = (first - value) / (count - 1) if count and count > 1 and first is not None else None
    return f"The last order of this {entity_words(name.entity)} was {_duration(value)} before", value, usual


def _say_first(_row: Row, name: Named, value: float) -> Said | None:
    assert name.entity
    return f"This {entity_words(name.entity)} was first seen {_duration(value)} before", value, None


def _say_known(_row: Row, name: Named, value: float) -> Said | None:
    assert name.entity
    word = entity_words(name.entity)
    return (f"{_count(value, 'earlier order')} of this {word}" if value else f"First order of this {word}"), value, None


def _say_pair(_row: Row, name: Named, value: float) -> Said | None:
    assert name.entity and name.second
    first, second = entity_words(name.entity), entity_words(name.second)
    if value == 0:
        return f"This {first} was never seen with this {second} before", value, None
    return f"This {first} was seen with this {second} in {_count(value, 'earlier order')}", value, None


def _say_sharing(_row: Row, name: Named, value: float) -> Said | None:
    assert name.entity and name.second and name.window
    word = entity_words(name.second)
    counted = f"{value:,.0f} different {word if value == 1 else _plural(word)}"
    return f"{counted} with this {entity_words(name.entity)} in {_period(name.window)}", value, None


def _plural(word: str) -> str:
    if word.endswith("s"):
        return f"{word}es"
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"


def _say_frauds(_row: Row, name: Named, value: float) -> Said | None:
    assert name.entity and name.window
    since = "so far" if name.window == EVER else f"in {_period(name.window)}"
    return f"{_count(value, 'known fraud')} with this {entity_words(name.entity)} {since}", value, None


def _say_fraud_rate(row: Row, name: Named, value: float) -> Said | None:
    usual = number(row, f"fraud_rate_{SHOP}_{EVER}")
    if name.entity == SHOP or name.entity is None:
        return f"{_percent(value)} of the shop's orders were fraud", value, None
    return f"Estimated share of fraud with this {entity_words(name.entity)} is {_percent(value)}", value, usual


def _say_normal(row: Row, name: Named, _value: float) -> Said | None:
    """Mean and deviation are told as the order's amount beside the mean."""
    return _amount_beside_mean(row, name.entity)


def _amount_beside_mean(row: Row, entity: str | None) -> Said | None:
    amount, mean = number(row, "amount_cents"), number(row, f"mean_amount_cents_{entity}_{EVER}")
    if amount is None or mean is None or entity is None:
        return None
    usually = f"orders of this {entity_words(entity)} are worth {_money(mean)} on average"
    return f"The order is worth {_money(amount)}; {usually}", amount, mean


def _amount(row: Row) -> Said | None:
    amount = number(row, "amount_cents")
    if amount is None:
        return None
    return f"The order is worth {_money(amount)}", amount, number(row, f"mean_amount_cents_customer_{EVER}")


def _say_of_order(row: Row, feature: str) -> Said | None:
    """The order's own values."""
    value = row.get(feature)
    if feature == "is_billing_shipping_same" and value is not None and not _is_missing(value):
        return f"Billing and shipping address are {'the same' if value else 'different'}", bool(value), None
    if feature.startswith("channel"):
        channel = row.get("channel")
        known = None if channel is None or _is_missing(channel) else str(channel)
        return None if known is None else (f"The sales channel is {known}", known, None)
    plain = number(row, feature)
    if plain is None:
        return ("The age of the account is not known", None, None) if feature == "account_age_days" else None
    if feature == "account_age_days":
        return f"The account is {_duration(plain * 86400)} old", plain, None
    if feature == "hour_of_day":
        return f"Ordered between {int(plain)}:00 and {int(plain)}:59", plain, None
    if feature == "day_of_week" and 1 <= plain <= 7:
        return f"Ordered on a {_DAYS[int(plain) - 1]}", plain, None
    return None


_SAYINGS = {
    "fraud_rate": _say_fraud_rate,
    "frauds": _say_frauds,
    "failed": _say_failed,
    "pair": _say_pair,
    "known_orders": _say_known,
    "orders": _say_orders,
    "spent": _say_spent,
    "first": _say_first,
    "last": _say_last,
    "mean": _say_normal,
    "deviation": _say_normal,
    "sharing": _say_sharing,
}


def number(row: Row, name: str | None) -> float | None:
    """A finite number of a row; None where there is none."""
    value = row.get(name)
    if value is None or isinstance(value, str) or _is_missing(value):
        return None
    plain = float(value)
    return plain if math.isfinite(plain) else None


def _is_missing(value: Any) -> bool:
    return bool(value != value) if isinstance(value, float) else str(value) in ("<NA>", "NaT", "nan")


def _share_of_longest(row: Row, prefix: str, name: Named) -> float | None:
    """The entity's own pace: its count of the longest window, shared out over this one."""
    assert name.entity and name.window
    windows, seconds = declaration().entity_windows[name.entity], declaration().window_seconds
    longest = max(windows, key=lambda window: seconds[window])
    total = number(row, f"{prefix}_{name.entity}_{longest}")
    if total is None or longest == name.window:
        return None
    return total * seconds[name.window] / seconds[longest]


def _period(window: str) -> str:
    unit = _UNITS.get(window[-1])
    if unit is None or not window[:-1].isdigit():
        return f"the last {window}"
    count = int(window[:-1])
    return f"the last {unit[:-1]}" if count == 1 else f"the last {count} {unit}"


def _count(value: float, what: str) -> str:
    return f"{_whole(value)} {what}" if value == 1 else f"{_whole(value)} {what}s"


def _whole(value: float) -> str:
    return f"{value:,.0f}" if value else "No"


def _money(cents: float) -> str:
    return f"{cents / 100:,.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _duration(seconds: float) -> str:
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
    return "less than a minute"
