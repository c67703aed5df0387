"""First stage: a few hundred products a customer, from several sources.

A product that several sources propose keeps the first source in the order of `SOURCES`.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ml.recommender.candidates import bought_together, own_purchases, popular
from ml.recommender.config import RecommenderConfig
from ml.recommender.dataset import History, Integers, Matrix

OWN_PURCHASES = "own_purchases"
BOUGHT_TOGETHER = "bought_together"
POPULAR_IN_STORE = "popular_in_store"
POPULAR = "popular"
SOURCES = (OWN_PURCHASES, BOUGHT_TOGETHER, POPULAR_IN_STORE, POPULAR)

# Features that only the candidate stage can compute.
CANDIDATE_FEATURES = ("together_score",)

# Customers whose scores against the whole catalogue are held in memory at once.
_CHUNK = 512


def propose(history: History, customers: list[str], config: RecommenderConfig) -> pd.DataFrame:
    """Candidates of customers who have a history.

    Returns:
        customer_id, product_id, source and `CANDIDATE_FEATURES`; one row per pair, ordered by customer as given.
    """
    codes = history.customers.get_indexer(pd.Index(customers))
    assert (codes >= 0).all(), f"{int((codes < 0).sum())} customers have no history before {history.as_of_date}"
    own = own_purchases.weights(history, config.baselines.recency_decay)
    companions = bought_together.companions(history, config.candidates)
    chunks = [_propose_chunk(history, chunk, own, companions, config) for chunk in _chunks(codes.astype(np.int64))]
    if not chunks:
        return pd.DataFrame({"customer_id": [], "product_id": [], "source": [], "together_score": []})
    pairs = pd.concat(chunks, ignore_index=True)
    return pd.DataFrame(
        {
            "customer_id": history.customers.to_numpy()[pairs["customer"]],
            "product_id": history.products.to_numpy()[pairs["product"]],
            "source": np.asarray(SOURCES, dtype=object)[pairs["source"]],
            "together_score": pairs["together_score"].to_numpy(np.float64),
        }
    )


def _chunks(codes: Integers) -> Iterator[Integers]:
    for start in range(0, len(codes), _CHUNK):
        yield codes[start : start + _CHUNK]


def _propose_chunk(
    history: History,
    codes: Integers,
    own: Matrix,
    companions: Matrix,
    config: RecommenderConfig,
) -> pd.DataFrame:
    sizes = config.candidates
    together = bought_together.scores(own[codes], companions)
    proposals = (
        own_purchases.propose(history, own[codes], sizes.own_purchases),
        bought_together.propose(history, own[codes], together, sizes.bought_together),
        popular.propose_in_store(history, codes, sizes.popular_in_store),
        popular.propose_overall(history, len(codes), sizes.popular),
    )
    rows = np.concatenate([row for row, _ in proposals])
    products = np.concatenate([product for _, product in proposals])
    source = np.repeat(np.arange(len(proposals)), [len(row) for row, _ in proposals])
    # Sources come in order, so the first of each pair is the one to keep.
    _, first = np.unique(rows * len(history.products) + products, return_index=True)
    return pd.DataFrame(
        {
            "customer": codes[rows[first]],
            "product": products[first],
            "source": source[first],
            "together_score": np.asarray(together[rows[first], products[first]]).ravel(),
        }
    )
