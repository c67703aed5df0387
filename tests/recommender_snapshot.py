"""A small published version by hand: eight products of two categories, two stores, two customers."""

import numpy as np
import numpy.typing as npt

from ml.recommender.features import PRODUCT_FEATURES
from ml.recommender.snapshot import Snapshot

PRODUCTS = tuple(f"p{number}" for number in range(8))


def codes(*products: str) -> npt.NDArray[np.int32]:
    return np.array([PRODUCTS.index(product) for product in products], dtype=np.int32)


def snapshot() -> Snapshot:
    """Popular: p7 down to p0; in s1: p2, p0. p0 to p3 are food. ann (home s1) has a list; cy is new."""
    lists = np.full((2, 3), -1, dtype=np.int32)
    lists[0] = codes("p1", "p3", "p5")
    lists[1] = codes("p7", "p6", "p5")
    return Snapshot(
        products=PRODUCTS,
        categories=("food",) * 4 + ("home",) * 3 + (None,),
        features=np.zeros((8, len(PRODUCT_FEATURES)), dtype=np.float32),
        popular=codes(*reversed(PRODUCTS)),
        popular_in_store={"s1": codes("p2", "p0"), "s2": codes("p4")},
        customers={"ann": 0, "cy": 1},
        home_store=("s1", None),
        is_known=np.array([True, False]),
        lists=lists,
        list_reasons=np.array([[0, 1, 0], [2, 2, 2]], dtype=np.int32),
        reasons=("You bought it before", "You often buy this kind of product", "new"),
    )
