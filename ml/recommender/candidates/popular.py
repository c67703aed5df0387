"""What is popular lately, in the customer's store and overall."""

import numpy as np

from ml.recommender.candidates.own_purchases import Pairs, best_per_row
from ml.recommender.dataset import History, Integers


def propose_overall(history: History, count_customers: int, count: int) -> Pairs:
    """The most popular products, the same for everybody."""
    best = history.popular_order[:count]
    rows = np.repeat(np.arange(count_customers, dtype=np.int64), len(best))
    return rows, np.tile(best, count_customers)


def propose_in_store(history: History, customers: Integers, count: int) -> Pairs:
    """The most popular products of each customer's home store; none where the store sold nothing lately."""
    if history.store_popularity.shape[0] == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    store_rows, products, _ = best_per_row(history.store_popularity, count, history.popularity)
    count_products = np.bincount(store_rows, minlength=history.store_popularity.shape[0])
    first_product = np.concatenate([[0], np.cumsum(count_products)[:-1]])
    homes = history.home_store[customers]
    counts = np.where(homes >= 0, count_products[homes], 0)
    rows = np.repeat(np.arange(len(customers), dtype=np.int64), counts)
    starts = np.repeat(first_product[homes] - (np.cumsum(counts) - counts), counts)
    return rows, products[starts + np.arange(int(counts.sum()))]
