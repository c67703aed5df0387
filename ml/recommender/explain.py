"""Why a product is shown, in plain words, from exact contributions.

XGBoost splits a score exactly into one contribution per feature (`pred_contribs`). Contributions are summed by theme,
and the largest theme that can be said truthfully of the row becomes the reason. Only what is shown is explained.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost as xgb

from ml.recommender.candidates import BOUGHT_TOGETHER, OWN_PURCHASES, POPULAR_IN_STORE
from ml.recommender.dataset import Floats

REASON_NEW_CUSTOMER = "Popular in the shop lately; we do not know your purchases yet"
REASON_POPULAR = "Popular in the shop lately"
REASON_POPULAR_IN_STORE = "Popular in your store lately"
REASON_BOUGHT_BEFORE = "You bought it before"
REASON_BOUGHT_TOGETHER = "Often bought together with things you buy"
REASON_SIMILAR_CUSTOMERS = "Bought by customers with purchases like yours"

_REASON_OF_SOURCE = {
    OWN_PURCHASES: REASON_BOUGHT_BEFORE,
    BOUGHT_TOGETHER: REASON_BOUGHT_TOGETHER,
    POPULAR_IN_STORE: REASON_POPULAR_IN_STORE,
}

Row = Mapping[Hashable, Any]


@dataclass(frozen=True)
class Theme:
    """Features that tell one thing, and the words for it.

    Attributes:
        say: The reason for a row, or None where it would not be true.
    """

    name: str
    features: tuple[str, ...]
    say: Callable[[Row], str | None]


def _say_habit(row: Row) -> str | None:
    count, since = row["count_purchases"], row["days_since_last_purchase"]
    return f"You bought it {count:.0f} times, the last time {_days(since)} ago" if count >= 2 else None


def _say_lately(row: Row) -> str | None:
    days = row["days_since_last_purchase"]
    if np.isnan(days):
        return None
    return f"You bought it {_days(days)} ago"


def _say_rhythm(row: Row) -> str | None:
    gap, since = row["mean_gap_days"], row["days_since_last_purchase"]
    # Only a product that is due is shown as due.
    if np.isnan(gap) or np.isnan(since) or since < 0.75 * gap:
        return None
    return f"You buy it about every {_days(gap)}; the last time was {_days(since)} ago"


def _say_kind(row: Row) -> str | None:
    return "You often buy this kind of product" if row["subcategory_trip_share"] >= 0.1 else None


def _say_together(row: Row) -> str | None:
    return REASON_BOUGHT_TOGETHER if row["together_score"] > 0 else None


def _say_store(row: Row) -> str | None:
    return REASON_POPULAR_IN_STORE if row["count_store_customers_28d"] >= 2 else None


def _say_popular(row: Row) -> str | None:
    return REASON_POPULAR if row["product_count_orders_28d"] >= 2 else None


def _days(count: float) -> str:
    rounded = max(1, round(count))
    return "1 day" if rounded == 1 else f"{rounded} days"


THEMES = (
    Theme(
        "habit",
        (
            "count_purchases",
            "count_purchases_28d",
            "count_purchases_84d",
            "trip_share",
            "trip_share_84d",
            "recency_weight_95",
            "recency_weight_99",
        ),
        _say_habit,
    ),
    Theme(
        "lately",
        ("days_since_last_purchase", "trips_since_last_purchase", "recency_weight_80", "recency_weight_daily_98"),
        _say_lately,
    ),
    Theme(
        "rhythm",
        ("mean_gap_days", "std_gap_days", "last_gap_days", "mean_gap_trips", "overdue_ratio", "overdue_ratio_trips"),
        _say_rhythm,
    ),
    Theme(
        "kind",
        (
            "subcategory_days_since_last_purchase",
            "subcategory_overdue_ratio",
            "subcategory_trip_share",
            "subcategory_recency_weight",
            "share_of_subcategory",
            "category_recency_weight",
            "manufacturer_recency_weight",
        ),
        _say_kind,
    ),
    Theme("together", ("together_score",), _say_together),
    Theme(
        "store",
        ("count_store_customers_28d", "count_store_customers_7d", "store_customer_share_28d"),
        _say_store,
    ),
    Theme(
        "popular",
        (
            "product_count_orders_7d",
            "product_count_orders_28d",
            "product_count_orders_91d",
            "product_count_customers_91d",
            "product_trend_ratio_7d_28d",
        ),
        _say_popular,
    ),
)


def contributions(booster: xgb.Booster, rows: pd.DataFrame, features: Sequence[str], threads: int = 1) -> Floats:
    """Exact contribution of each feature to each row's score; the last column is the constant part.

    Returns:
        Rows x (features + 1); each row sums to its score.
    """
    matrix = xgb.DMatrix(rows[list(features)].to_numpy(np.float32), feature_names=list(features), nthread=threads)
    booster.set_param({"nthread": threads})
    return np.asarray(booster.predict(matrix, pred_contribs=True), dtype=np.float64)


def reasons(booster: xgb.Booster, shown: pd.DataFrame, features: Sequence[str], threads: int = 1) -> list[str]:
    """One reason for each shown row: that of the largest positive theme that is true of it.

    Args:
        shown: Features and `source`.
    """
    if shown.empty:
        return []
    parts = contributions(booster, shown, features, threads)
    place = {name: column for column, name in enumerate(features)}
    by_theme = np.column_stack(
        [parts[:, [place[name] for name in theme.features if name in place]].sum(axis=1) for theme in THEMES]
    )
    told = sorted({"count_purchases", *(name for theme in THEMES for name in theme.features)} & set(shown.columns))
    records = shown[told].to_dict("records")
    return [
        _reason(row, weights, str(source))
        for row, weights, source in zip(records, by_theme, shown["source"], strict=True)
    ]


def _reason(row: Row, weights: npt.NDArray[np.float64], source: str) -> str:
    for theme in np.argsort(-weights, kind="stable"):
        if weights[theme] <= 0:
            break
        said = THEMES[theme].say(row)
        if said is not None:
            return said
    return _REASON_OF_SOURCE.get(source, REASON_POPULAR)
