"""Baselines with the ranker's interface. Each is a few lines that an honest ranker must beat."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd
from scipy import sparse

from ml.recommender.candidates import OWN_PURCHASES, POPULAR, own_purchases
from ml.recommender.config import BaselineConfig
from ml.recommender.dataset import History, Integers, Matrix
from ml.recommender.explain import (
    REASON_BOUGHT_BEFORE,
    REASON_NEW_CUSTOMER,
    REASON_POPULAR,
    REASON_SIMILAR_CUSTOMERS,
)
from ml.recommender.protocols import RECOMMENDATION_COLUMNS

SIMILAR_CUSTOMERS = "similar_customers"

Scorer = Callable[[History, Integers, BaselineConfig], Matrix]


def popularity_scores(history: History, customers: Integers, _config: BaselineConfig) -> Matrix:
    """Nothing personal: every place is filled by popularity."""
    return sparse.csr_matrix((len(customers), len(history.products)))


def frequency_scores(history: History, customers: Integers, _config: BaselineConfig) -> Matrix:
    """Number of the customer's trips that hold the product."""
    return history.matrix(np.ones(len(history.catalogue_purchases.product)))[customers]


def recency_scores(history: History, customers: Integers, config: BaselineConfig) -> Matrix:
    """The sum of 0.95^(trips ago) over the customer's trips that hold the product."""
    return own_purchases.weights(history, config.recency_decay)[customers]


def tifu_knn_scores(history: History, customers: Integers, config: BaselineConfig) -> Matrix:
    """Temporal item frequency with nearest neighbours (Hu et al., SIGIR 2020).

    A customer's vector is the mean over groups of consecutive trips, newest group first, of the mean of
    the group's trips, with weights decaying within and between groups; it is mixed with the mean vector
    of the nearest customers by Euclidean distance.
    """
    own = _tifu_vectors(history, config)
    neighbours = min(config.tifu_neighbours, own.shape[0] - 1)
    if neighbours < 1:
        return own[customers]
    norm = np.asarray(own.multiply(own).sum(axis=1)).ravel()
    parts = []
    for start in range(0, len(customers), 256):
        chunk = customers[start : start + 256]
        distance = norm[np.newaxis, :] - 2.0 * (own[chunk] @ own.T).toarray()
        distance[np.arange(len(chunk)), chunk] = np.inf
        nearest = np.argpartition(distance, neighbours - 1, axis=1)[:, :neighbours]
        rows = np.repeat(np.arange(len(chunk)), neighbours)
        mean = sparse.csr_matrix(
            (np.full(rows.size, 1.0 / neighbours), (rows, nearest.ravel())), shape=(len(chunk), own.shape[0])
        )
        parts.append(config.tifu_own_share * own[chunk] + (1.0 - config.tifu_own_share) * (mean @ own))
    return sparse.csr_matrix(sparse.vstack(parts))


def _tifu_vectors(history: History, config: BaselineConfig) -> Matrix:
    bought = history.catalogue_purchases
    size = config.tifu_group_trips
    count_trips = history.count_trips[bought.customer]
    # Groups are full counted from the newest trip, so the oldest group may be short.
    group = bought.trips_ago // size
    count_groups = -(-count_trips // size)
    group_size = np.where(group == count_groups - 1, count_trips - group * size, size)
    weight = (
        np.power(config.tifu_within_decay, bought.trips_ago % size)
        / group_size
        * np.power(config.tifu_group_decay, group)
        / count_groups
    )
    return history.matrix(weight)


@dataclass(frozen=True)
class Baseline:
    """A recommender without a model file: `scorer` fills customers x products, the rest is shared."""

    name: str
    scorer: Scorer
    config: BaselineConfig
    kind: Literal["baseline"] = "baseline"

    def recommend(self, history: History, customers: list[str], as_of_date: date, k: int) -> pd.DataFrame:
        assert history.as_of_date == as_of_date, f"history is as of {history.as_of_date}, not {as_of_date}"
        codes = history.customers.get_indexer(pd.Index(customers)).astype(np.int64)
        known = np.flatnonzero(codes >= 0)
        shape = (len(customers), len(history.products))
        scores = sparse.csr_matrix(shape)
        if len(known):
            found = self.scorer(history, codes[known], self.config).tocoo()
            scores = sparse.csr_matrix((found.data, (known[found.row], found.col)), shape=shape)
        return _fill(history, customers, codes, scores, k)


def _fill(history: History, customers: list[str], codes: Integers, scores: Matrix, k: int) -> pd.DataFrame:
    """The k best scores of each customer; places that remain go to what is popular."""
    k = min(k, len(history.products))
    rows, products, values = own_purchases.best_per_row(scores, k, history.popularity)
    # Twice k popular products suffice: at most k of them have a place already.
    filler = history.popular_order[: 2 * k]
    filled = pd.DataFrame(
        {
            "row": np.repeat(np.arange(len(customers)), len(filler)),
            "product": np.tile(filler, len(customers)),
            "score": 0.0,
        }
    )
    places = pd.concat(
        [pd.DataFrame({"row": rows, "product": products, "score": values}), filled], ignore_index=True
    ).drop_duplicates(["row", "product"])
    places = places.sort_values("row", kind="stable")
    places["rank"] = places.groupby("row").cumcount() + 1
    places = places[places["rank"] <= k]
    own = own_purchases.weights(history, 1.0)
    return _describe(history, customers, codes, own, places)


def _describe(
    history: History, customers: list[str], codes: Integers, own: Matrix, places: pd.DataFrame
) -> pd.DataFrame:
    row, product = places["row"].to_numpy(), places["product"].to_numpy()
    is_known = codes[row] >= 0
    count_bought = np.zeros(len(row))
    count_bought[is_known] = np.asarray(own[codes[row[is_known]], product[is_known]]).ravel()
    is_scored = places["score"].to_numpy() > 0
    conditions = [~is_known, is_scored & (count_bought > 0), is_scored]
    reasons = [REASON_NEW_CUSTOMER, REASON_BOUGHT_BEFORE, REASON_SIMILAR_CUSTOMERS]
    sources = [POPULAR, OWN_PURCHASES, SIMILAR_CUSTOMERS]
    frame = pd.DataFrame(
        {
            "customer_id": np.asarray(customers, dtype=object)[row],
            "rank": places["rank"].to_numpy(np.int64),
            "product_id": history.products.to_numpy()[product],
            "score": places["score"].to_numpy(np.float64),
            "reason": np.select(conditions, reasons, REASON_POPULAR),
            "source": np.select(conditions, sources, POPULAR),
        }
    )
    return frame[list(RECOMMENDATION_COLUMNS)]


SCORERS: dict[str, Scorer] = {
    "popularity": popularity_scores,
    "personal_frequency": frequency_scores,
    "recency_count": recency_scores,
    "tifu_knn": tifu_knn_scores,
}


def all_baselines(config: BaselineConfig) -> list[Baseline]:
    """Every baseline, in the order in which tables show them."""
    return [Baseline(name, scorer, config) for name, scorer in SCORERS.items()]
