"""Products that others buy in one trip with what the customer buys."""

import numpy as np
from scipy import sparse

from ml.recommender.candidates.own_purchases import Pairs, best_per_row
from ml.recommender.config import CandidateConfig
from ml.recommender.dataset import History, Matrix


def companions(history: History, config: CandidateConfig) -> Matrix:
    """Products x products: cosine of the trips that hold them, for the nearest neighbours of each product.

    cosine(i, j) = trips with both / sqrt(trips with i * trips with j), over recent trips of ordinary size.
    """
    trips = _recent_trips(history, config)
    count_both = (trips.T @ trips).tocoo()
    count_each = np.asarray(trips.sum(axis=0)).ravel()
    related = (count_both.row != count_both.col) & (count_both.data >= config.together_min_baskets)
    row, column, both = count_both.row[related], count_both.col[related], count_both.data[related]
    cosine = both / np.sqrt(count_each[row] * count_each[column])
    nearness = sparse.csr_matrix((cosine, (row, column)), shape=count_both.shape)
    kept_row, kept_column, kept = best_per_row(nearness, config.together_neighbours, history.popularity)
    return sparse.csr_matrix((kept, (kept_row, kept_column)), shape=nearness.shape)


def _recent_trips(history: History, config: CandidateConfig) -> Matrix:
    bought = history.catalogue_purchases
    recent = bought.days_ago <= config.together_days
    stride = config.together_days + 1
    trip_keys = bought.customer[recent] * stride + bought.days_ago[recent]
    keys, trip = np.unique(trip_keys, return_inverse=True)
    shape = (len(keys), len(history.products))
    trips = sparse.csr_matrix((np.ones(len(trip)), (trip, bought.product[recent])), shape=shape)
    size = np.diff(trips.indptr)
    return trips[(size > 1) & (size <= config.together_max_basket)]


def scores(own: Matrix, nearness: Matrix) -> Matrix:
    """Customers x products: mean nearness to what the customer buys, weighted by `own`."""
    total = np.asarray(own.sum(axis=1)).ravel()
    shares = sparse.diags(np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)) @ own
    return sparse.csr_matrix(shares @ nearness)


def propose(history: History, own: Matrix, together: Matrix, count: int) -> Pairs:
    """The best products that the customer never bought: rows of `own` and product codes."""
    is_new = sparse.csr_matrix(together - own.astype(bool).multiply(together))
    is_new.eliminate_zeros()
    rows, products, _ = best_per_row(is_new, count, history.popularity)
    return rows, products
