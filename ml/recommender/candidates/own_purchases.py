"""Products that the customer bought before, weighted by how recent and how regular the purchases are."""

import numpy as np

from ml.recommender.dataset import Floats, History, Integers, Matrix

Pairs = tuple[Integers, Integers]


def weights(history: History, decay: float) -> Matrix:
    """Customers x products: the sum of decay^(trips ago) over the trips that hold the product."""
    return history.matrix(np.power(decay, history.catalogue_purchases.trips_ago))


def propose(history: History, own: Matrix, count: int) -> Pairs:
    """The products of largest weight: rows of `own` and product codes."""
    rows, products, _ = best_per_row(own, count, history.popularity)
    return rows, products


def best_per_row(scores: Matrix, count: int, popularity: Floats) -> tuple[Integers, Integers, Floats]:
    """The `count` largest non-zero entries of each row, ties to the more popular and then the first product.

    Returns:
        Row, column and value of each, in the order of rows and, within a row, from best to worst.
    """
    rows: list[Integers] = [np.empty(0, dtype=np.int64)]
    columns: list[Integers] = [np.empty(0, dtype=np.int64)]
    found_values: list[Floats] = [np.empty(0)]
    for row in range(scores.shape[0]):
        start, end = scores.indptr[row], scores.indptr[row + 1]
        values = scores.data[start:end]
        found = scores.indices[start:end].astype(np.int64)
        if len(values) > count:
            smallest_kept = np.partition(values, len(values) - count)[len(values) - count]
            kept = values >= smallest_kept
            values, found = values[kept], found[kept]
        best = np.lexsort((found, -popularity[found], -values))[:count]
        rows.append(np.full(len(best), row, dtype=np.int64))
        columns.append(found[best])
        found_values.append(values[best])
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(found_values)
