"""What is known at a moment of which orders were fraud, and how much of it is not known yet."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.config import LabelConfig

Floats = npt.NDArray[np.float64]

LABEL_COLUMNS = ("order_id", "is_fraud", "is_mature", "known_share", "weight", "source")
NO_LABEL = "none"


@dataclass(frozen=True)
class DelayCurve:
    """How long it takes until a fraud is known.

    Attributes:
        share: Share of the frauds that is known d whole days after the order, d = 0, 1, ...; never falls, ends in 1.
        maturity_days: Age at which an order counts as mature.
        learnable_days: Age from which an order is learnt from, with a weight.
        count_frauds: Known frauds that the curve was estimated from.
        is_estimated: False: too little is known, and the curve is the config's prior.
    """

    share: tuple[float, ...]
    maturity_days: int
    learnable_days: int
    count_frauds: int
    is_estimated: bool

    def known_share(self, age_days: npt.ArrayLike) -> Floats:
        """Share of the frauds among orders of an age that is known; 0 before the order."""
        ages = np.asarray(age_days, dtype=np.float64)
        places = np.clip(np.floor(ages), 0, len(self.share) - 1).astype(np.int64)
        share = np.asarray(self.share, dtype=np.float64)[places]
        return np.asarray(np.where(ages < 0, 0.0, share), dtype=np.float64)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class LabelHealth:
    """Whether the newest labels look like labels.

    Attributes:
        recent_per_day: Fraud labels per day that became known in the newest `days`.
        usual_per_day: The same over the days before them.
        problem: What is wrong, or None.
    """

    days: int
    recent_per_day: float
    usual_per_day: float
    fraud_share: float
    problem: str | None


def estimate_delay(
    orders: pd.DataFrame, labels: pd.DataFrame, moment: datetime, config: LabelConfig | None = None
) -> DelayCurve:
    """The delay of labels, from what is known at `moment`.

    Young orders only show short delays. The estimate corrects this by the product-limit of reversed time for
    right-truncated data (Lynden-Bell 1971; Woodroofe, Annals of Statistics 1985): a fraud of age T was seen because its
    delay is at most T, so at delay u only frauds with delay <= u <= T are compared.

    Args:
        orders: order_id, attempted_at.
        labels: order_id, is_fraud, known_at; rows known later than `moment` are not looked at.
    """
    config = config or LabelConfig()
    known = _first_frauds(labels, moment).merge(
        orders[["order_id", "attempted_at"]], on="order_id", how="inner", validate="one_to_one"
    )
    attempted = utc(known["attempted_at"])
    delay = np.ceil(_days(utc(known["known_at"]) - attempted)).clip(0)
    age = np.floor(_days(_moment(moment) - attempted))
    span = int(min(age.max(), config.longest_delay_days)) if len(age) else 0
    # A delay past the longest is not waited for; one of 6.5 days is seen from age 7 on.
    seen = (delay <= age) & (delay <= span)
    if seen.sum() >= config.min_frauds:
        share = _truncated_distribution(delay[seen].astype(np.int64), age[seen].astype(np.int64), span)
        maturity = int(np.argmax(share >= config.mature_share))
        # Where the oldest frauds are still coming in, the end of the curve is not in sight.
        if maturity <= 0.75 * span:
            return _curve(share, int(seen.sum()), True, config)
    return _curve(_prior(config), int(seen.sum()), False, config)


def _truncated_distribution(delay: npt.NDArray[np.int64], age: npt.NDArray[np.int64], span: int) -> Floats:
    age = np.minimum(age, span)
    at = np.bincount(delay, minlength=span + 1).astype(float)
    # At u: delay <= u <= age.
    begun = np.cumsum(at)
    ended = np.concatenate([[0.0], np.cumsum(np.bincount(age, minlength=span + 1))[:-1]])
    at_risk = begun - ended
    kept = np.where(at_risk > 0, 1.0 - at / np.maximum(at_risk, 1.0), 1.0)
    # F(d) is the product over u > d.
    return np.asarray(np.concatenate([np.cumprod(kept[::-1])[::-1][1:], [1.0]]), dtype=np.float64)


def _prior(config: LabelConfig) -> Floats:
    """Lognormal: half after a third of the prior's days, `mature_share` after all of them."""
    from scipy import stats

    days = np.arange(config.longest_delay_days + 1, dtype=float)
    median = config.prior_maturity_days / 3
    spread = np.log(3) / stats.norm.ppf(config.mature_share)
    share = np.asarray(stats.lognorm.cdf(days, s=spread, scale=median), dtype=np.float64)
    return np.asarray(share / share[-1])


def _curve(share: Floats, count: int, is_estimated: bool, config: LabelConfig) -> DelayCurve:
    maturity = int(np.argmax(share >= config.mature_share))
    maturity = int(np.clip(maturity, config.shortest_maturity_days, config.longest_delay_days))
    learnable = min(int(np.argmax(share >= config.min_known_share)), maturity)
    return DelayCurve(tuple(float(one) for one in share), maturity, learnable, count, is_estimated)


def known_labels(
    orders: pd.DataFrame, labels: pd.DataFrame, moment: datetime, delay: DelayCurve, config: LabelConfig | None = None
) -> pd.DataFrame:
    """What is known at `moment` of every order attempted before it.

    A fraud label stands against anything else. An order that no attempt paid for can never be disputed: without a
    label of its own it is not known, however old.

    Args:
        orders: order_id, attempted_at and, where the shop has it, is_approved.
        labels: order_id, is_fraud, known_at, label_source.

    Returns:
        `LABEL_COLUMNS`, in the orders' order. `weight` corrects for frauds that are not known yet: 1 / known_share for
        a fraud, 1 for the others, 0 for what cannot be learnt from.
    """
    config = config or LabelConfig()
    attempted = utc(orders["attempted_at"])
    past = orders[(attempted < _moment(moment)).to_numpy()]
    label = _strongest(labels, moment)
    found = past.merge(label, on="order_id", how="left", validate="one_to_one")
    age = np.floor(_days(_moment(moment) - utc(found["attempted_at"])))
    is_labelled = found["is_fraud"].notna().to_numpy()
    is_fraud = found["is_fraud"].eq(True).to_numpy()
    share = delay.known_share(age)
    is_disputable = found["is_approved"].ne(False).to_numpy() if "is_approved" in found else np.ones(len(found), bool)
    is_mature = is_labelled | (is_disputable & (age >= delay.maturity_days))
    # The age decides, not the label: young orders that happen to be known would all be frauds.
    is_learnable = (is_labelled | is_disputable) & (age >= delay.learnable_days)
    share = np.where(age >= delay.maturity_days, 1.0, np.maximum(share, 1e-9))
    return pd.DataFrame(
        {
            "order_id": found["order_id"],
            "is_fraud": is_fraud,
            "is_mature": is_mature,
            "known_share": share,
            "weight": np.where(is_learnable, np.where(is_fraud, 1.0 / share, 1.0), 0.0),
            "source": found["label_source"].where(is_labelled, NO_LABEL),
        }
    )


def label_health(
    labels: pd.DataFrame, moment: datetime, *, days: int = 7, flood_ratio: float = 10.0, min_flood: int = 50
) -> LabelHealth:
    """Whether fraud labels flood in, or dried up, over the newest days against the 12 weeks before them.

    Args:
        labels: is_fraud, known_at.
        flood_ratio: So many times the usual number is a flood, if it is at least `min_flood` labels.
    """
    age = _days(_moment(moment) - utc(labels["known_at"]))
    is_fraud = labels["is_fraud"].eq(True).to_numpy()
    is_recent = (age >= 0) & (age < days)
    is_before = (age >= days) & (age < days + 84)
    recent, before = int((is_recent & is_fraud).sum()), int((is_before & is_fraud).sum())
    span = float(min(84.0, max(np.ceil(age[is_before].max()) - days + 1, 1.0))) if is_before.any() else 0.0
    usual = before / span if span else 0.0
    share = recent / max(int(is_recent.sum()), 1)
    problem = None
    if recent >= min_flood and recent / days > flood_ratio * max(usual, 1.0 / days):
        problem = f"fraud labels: {recent} in {days} days, usual are {usual * days:.1f}"
    elif span >= 4 * days and usual * days >= 10 and recent == 0:
        problem = f"fraud labels: none in {days} days, usual are {usual * days:.1f}"
    return LabelHealth(days, recent / days, usual, share, problem)


def _first_frauds(labels: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """order_id and the first moment at which it was known to be fraud."""
    is_known = labels["is_fraud"].eq(True).to_numpy() & (utc(labels["known_at"]) <= _moment(moment)).to_numpy()
    return _once(labels[is_known], ["known_at"])[["order_id", "known_at"]]


def _strongest(labels: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """One label an order: fraud before anything else, then the first known."""
    known = labels[(utc(labels["known_at"]) <= _moment(moment)).to_numpy()]
    known = known.assign(is_weak=known["is_fraud"].ne(True))
    return _once(known, ["is_weak", "known_at"])[["order_id", "is_fraud", "label_source"]]


def _once(labels: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    return labels.sort_values(["order_id", *by], kind="stable").drop_duplicates("order_id")


def utc(column: pd.Series) -> pd.Series:
    """Moments as UTC; those without a zone are UTC."""
    return pd.to_datetime(column, utc=True)


def _moment(moment: datetime) -> pd.Timestamp:
    stamp = pd.Timestamp(moment)
    return stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")


def _days(difference: pd.Series) -> Floats:
    return np.asarray(difference.dt.total_seconds().to_numpy(np.float64) / 86_400.0)
