"""Why a product is shown, in plain words, from exact contributions.

XGBoost splits a score exactly into one contribution per feature (`pred_contribs`). Contributions are summed by theme,
and the largest theme that can be said truthfully of the row becomes the reason. Only what is shown is explained.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost as xgb

from ml.evaluation.forest import forest_of
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

Row = Mapping[str, float]
Values = npt.NDArray[np.float32]


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
    if math.isnan(days):
        return None
    return f"You bought it {_days(days)} ago"


def _say_rhythm(row: Row) -> str | None:
    gap, since = row["mean_gap_days"], row["days_since_last_purchase"]
    # Only a product that is due is shown as due.
    if math.isnan(gap) or math.isnan(since) or since < 0.75 * gap:
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

# What the reasons tell of a row.
_TOLD = (
    "count_purchases",
    "days_since_last_purchase",
    "mean_gap_days",
    "subcategory_trip_share",
    "together_score",
    "count_store_customers_28d",
    "product_count_orders_28d",
)


class Explainer:
    """Reasons for scored rows of one booster; what does not change from row to row is prepared once.

    Args:
        features: Names of the columns of the inputs.
        threads: Where XGBoost has to be asked, which is for trees that are too deep for tables.
    """

    def __init__(self, booster: xgb.Booster, features: Sequence[str], threads: int = 1) -> None:
        self._booster, self._features, self._threads = booster, list(features), threads
        self._forest = forest_of(booster)
        place = {name: column for column, name in enumerate(features)}
        self._of_theme = np.zeros((len(features) + 1, len(THEMES)))  # the constant part belongs to no theme
        for column, theme in enumerate(THEMES):
            self._of_theme[[place[name] for name in theme.features if name in place], column] = 1.0
        self._told = [(name, place[name]) for name in _TOLD if name in place]

    def contributions(self, inputs: Values) -> Floats:
        """Exact contribution of each feature to each row's score; the last column is the constant part.

        Returns:
            Rows x (features + 1); each row sums to its score.
        """
        if self._forest is not None:
            return self._forest.shares(inputs)
        matrix = xgb.DMatrix(inputs, feature_names=self._features, nthread=self._threads)
        self._booster.set_param({"nthread": self._threads})
        return np.asarray(self._booster.predict(matrix, pred_contribs=True), dtype=np.float64)

    def reasons(self, inputs: Values, sources: Sequence[str]) -> list[str]:
        """One reason for each row: that of the largest positive theme that is true of it."""
        if len(inputs) == 0:
            return []
        by_theme = self.contributions(inputs) @ self._of_theme
        told = inputs[:, [column for _, column in self._told]].tolist()
        names = [name for name, _ in self._told]
        return [
            _reason(dict(zip(names, row, strict=True)), weights, source)
            for row, weights, source in zip(told, by_theme, sources, strict=True)
        ]


def contributions(booster: xgb.Booster, rows: pd.DataFrame, features: Sequence[str], threads: int = 1) -> Floats:
    """`Explainer.contributions` of a frame's rows."""
    return Explainer(booster, features, threads).contributions(rows[list(features)].to_numpy(np.float32))


def reasons(booster: xgb.Booster, shown: pd.DataFrame, features: Sequence[str], threads: int = 1) -> list[str]:
    """`Explainer.reasons` of a frame's rows.

    Args:
        shown: Features and `source`.
    """
    inputs = shown[list(features)].to_numpy(np.float32)
    return Explainer(booster, features, threads).reasons(inputs, [str(source) for source in shown["source"]])


def _reason(row: Row, weights: npt.NDArray[np.float64], source: str) -> str:
    for theme in np.argsort(-weights, kind="stable").tolist():
        if weights[theme] <= 0:
            break
        said = THEMES[theme].say(row)
        if said is not None:
            return said
    return _REASON_OF_SOURCE.get(source, REASON_POPULAR)
