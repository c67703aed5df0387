"""What a published version says of all products and customers, as arrays in memory."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int32]
Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Snapshot:
    """The catalogue, what is popular, and every customer's published list. A product's code is its place in `products`.

    Attributes:
        products: Product ids of the catalogue, sorted.
        categories: Category of each product, or None.
        features: Products x product features of the ranker; missing values for products that nobody has as candidate.
        popular: Product codes from the most to the least popular.
        popular_in_store: Store id -> product codes, most popular first; only what was sold there lately.
        customers: Customer id -> row of the arrays below.
        home_store: Store id of each customer's most trips; None without one.
        is_known: Whether purchases of the customer are known; the list of others is what is popular.
        lists: Customers x shown product codes, best first; -1 where the list is shorter.
        list_reasons: Customers x shown codes into `reasons`.
        reasons: The different reasons of the lists.
    """

    products: tuple[str, ...]
    categories: tuple[str | None, ...]
    features: Values
    popular: Codes
    popular_in_store: Mapping[str, Codes]
    customers: Mapping[str, int]
    home_store: tuple[str | None, ...]
    is_known: npt.NDArray[np.bool_]
    lists: Codes
    list_reasons: Codes
    reasons: tuple[str, ...]


EMPTY = Snapshot(
    products=(),
    categories=(),
    features=np.empty((0, 0), dtype=np.float32),
    popular=np.empty(0, dtype=np.int32),
    popular_in_store={},
    customers={},
    home_store=(),
    is_known=np.empty(0, dtype=np.bool_),
    lists=np.empty((0, 0), dtype=np.int32),
    list_reasons=np.empty((0, 0), dtype=np.int32),
    reasons=(),
)
"""Before anything was published."""
