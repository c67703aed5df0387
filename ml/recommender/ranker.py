"""The second stage: candidates scored by gradient-boosted trees."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd
import xgboost as xgb

from ml.recommender.baselines import Baseline, popularity_scores
from ml.recommender.candidates import propose
from ml.recommender.config import RecommenderConfig
from ml.recommender.dataset import History
from ml.recommender.explain import reasons
from ml.recommender.features import FEATURES, Feed, add_features
from ml.recommender.protocols import RECOMMENDATION_COLUMNS
from ml.recommender.score import best_per_customer, score

# Customers whose candidates are in memory at once: about 235 rows each.
_CHUNK = 4096


@dataclass(frozen=True)
class Ranker:
    """Candidates, features, score, reason.

    Attributes:
        feed: Where the feature tables come from.
        observe: Called with each chunk of scored candidates (features, source, score), for the sample that drift
            is judged by.
    """

    booster: xgb.Booster
    config: RecommenderConfig
    feed: Feed
    observe: Callable[[pd.DataFrame], None] | None = None
    name: str = "ranker"
    kind: Literal["ranker"] = "ranker"

    def recommend(self, history: History, customers: list[str], as_of_date: date, k: int) -> pd.DataFrame:
        assert history.as_of_date == as_of_date, f"history is as of {history.as_of_date}, not {as_of_date}"
        known = [customer for customer in customers if customer in history.customers]
        parts = [
            self._recommend_known(history, known[start : start + _CHUNK], k) for start in range(0, len(known), _CHUNK)
        ]
        parts.append(self._recommend_unknown(history, customers, k))
        found = pd.concat(parts, ignore_index=True)
        order = {customer: place for place, customer in enumerate(customers)}
        found = found.assign(place=found["customer_id"].map(order)).sort_values(["place", "rank"], kind="stable")
        return found[list(RECOMMENDATION_COLUMNS)].reset_index(drop=True)

    def _recommend_known(self, history: History, customers: list[str], k: int) -> pd.DataFrame:
        pairs = propose(history, customers, self.config)
        scored = self.score_candidates(add_features(history, pairs, self.feed(history, pairs)))
        if self.observe:
            self.observe(scored)
        return self.show(scored, k)

    def score_candidates(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows with their score."""
        return rows.assign(score=score(self.booster, rows, FEATURES, self.config.ranker.max_missing_share))

    def show(self, scored: pd.DataFrame, k: int) -> pd.DataFrame:
        """The k best of each customer, with reasons."""
        shown = best_per_customer(scored, k)
        shown = shown.assign(reason=reasons(self.booster, shown, FEATURES, self.config.ranker.threads))
        return shown[list(RECOMMENDATION_COLUMNS)]

    def _recommend_unknown(self, history: History, customers: list[str], k: int) -> pd.DataFrame:
        unknown = [customer for customer in customers if customer not in history.customers]
        popular = Baseline("popularity", popularity_scores, self.config.baselines)
        return popular.recommend(history, unknown, history.as_of_date, k)


def sample_rows(rows: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """At most `count` rows' features and scores, without any id: what drift is judged against."""
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    return rows.iloc[np.sort(chosen)][[*FEATURES, "score"]].reset_index(drop=True)
