"""Recommendations for one request: a customer's row ranked now, or one of the lists that stand in for it.

Pure and immutable: everything that can be prepared once is, and a new version is a new engine. What a step gives is an
*ordering* of products from best to worst, longer than what is shown: exploration draws from it. Places that a step
leaves open go to what is popular.
"""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from ml.outcomes import DataFailed
from ml.recommender.candidates import SOURCES
from ml.recommender.customer_row import decode_row
from ml.recommender.explain import REASON_NEW_CUSTOMER, REASON_POPULAR, REASON_POPULAR_IN_STORE, Explainer
from ml.recommender.exploration import POOL, Choice, as_ordered, choose
from ml.recommender.features import FEATURES
from ml.recommender.snapshot import Snapshot

if TYPE_CHECKING:
    import xgboost as xgb

Step = Literal["personal", "batch", "segment", "popular", "static"]
# Reasons of the places from one on, for those among them that are shown.
_Reasons = Callable[[Sequence[int]], list[str]]


@dataclass(frozen=True)
class Item:
    """A product that is shown.

    Attributes:
        rank: From 1.
        reason: In plain words.
        propensity: Chance that this product stood at this place.
    """

    product_id: str
    rank: int
    reason: str
    propensity: float


@dataclass(frozen=True)
class Offer:
    """What one request is shown.

    Attributes:
        is_explored: The products were drawn instead of taken from the top.
    """

    items: tuple[Item, ...]
    is_explored: bool


@dataclass(frozen=True)
class Filters:
    """What may be shown.

    Attributes:
        exclude: Product ids that may not.
        category: Only products of it; None: of all.
        store_id: The store that is looked at; None: the customer's own.
    """

    exclude: Collection[str] = ()
    category: str | None = None
    store_id: str | None = None


class RecommenderEngine:
    """Answers from one snapshot and, where there is one, one booster on one thread.

    Args:
        booster: None where the champion is a baseline.
        explored_share: Chance that an answer's products are drawn.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        booster: "xgb.Booster | None",
        explored_share: float = 0.0,
        chance: random.Random | None = None,
    ) -> None:
        self.snapshot, self.explored_share = snapshot, explored_share
        self._booster = booster
        self._chance = random.SystemRandom() if chance is None else chance
        self._codes = {product: code for code, product in enumerate(snapshot.products)}
        self._category_codes = {name: code for code, name in enumerate(dict.fromkeys(snapshot.categories))}
        self._categories = np.array([self._category_codes[name] for name in snapshot.categories], dtype=np.int32)
        self._popular = {
            name: snapshot.popular[self._categories[snapshot.popular] == code].tolist()
            for name, code in self._category_codes.items()
            if name is not None
        }
        self._popular_everywhere = snapshot.popular.tolist()
        self._explainer = None
        if booster is not None:
            booster.set_param({"nthread": 1})
            self._explainer = Explainer(booster, FEATURES, threads=1)

    def knows(self, customer_id: str) -> bool:
        """Whether there is a published list of the customer that was made from their purchases."""
        number = self.snapshot.customers.get(customer_id)
        return number is not None and bool(self.snapshot.is_known[number])

    def rank(self, customer_id: str, row: bytes, k: int, filters: Filters) -> Offer:
        """The k best products of a customer's row, by the model and now.

        Raises:
            DataFailed: The row is damaged, or not one that this snapshot and model can read.
        """
        if self._booster is None or self._explainer is None:
            raise DataFailed("the champion ranks no rows")
        explainer = self._explainer
        decoded = decode_row(row)
        if len(decoded.products) and int(decoded.products[-1]) >= len(self._codes):
            raise DataFailed("customer row: a product that is not in the snapshot")
        places = np.flatnonzero(self._allowed(decoded.products, filters))
        inputs = decoded.inputs(places, self.snapshot.features)
        scores = self._booster.inplace_predict(inputs) if len(places) else np.empty(0, dtype=np.float32)
        # Ties go to the first product id, as in the batch: a row's products are in the order of their ids.
        order = np.argsort(-scores, kind="stable")[:POOL]
        ranked = decoded.products[places[order]].tolist()

        def tell(shown: Sequence[int]) -> list[str]:
            chosen = order[list(shown)]
            sources = [SOURCES[source] for source in decoded.sources[places[chosen]]]
            return explainer.reasons(inputs[chosen], sources)

        return self._offer(ranked, tell, k, filters, self._store_of(customer_id, filters))

    def batch(self, customer_id: str, k: int, filters: Filters) -> Offer:
        """The first k products of the customer's published list; the customer has one."""
        number = self.snapshot.customers[customer_id]
        published = self.snapshot.lists[number]
        kept = np.flatnonzero((published >= 0) & self._allowed(published, filters))
        reasons = [self.snapshot.reasons[self.snapshot.list_reasons[number, place]] for place in kept]
        return self._offer(
            published[kept].tolist(),
            lambda shown: [reasons[place] for place in shown],
            k,
            filters,
            self._store_of(customer_id, filters),
        )

    def popular(self, k: int, filters: Filters, customer_id: str | None = None, *, is_new: bool = False) -> Offer:
        """What is popular in the store that is looked at or the customer's own, then in the shop.

        Args:
            customer_id: Whose home store may be used; None: nobody's.
            is_new: The reason says that nothing is known of the customer.
        """
        store = self._store_of(customer_id, filters)
        return self._offer([], lambda _: [], k, filters, store, REASON_NEW_CUSTOMER if is_new else REASON_POPULAR)

    def store_of(self, customer_id: str | None, filters: Filters) -> str | None:
        """The store whose popular products there are: the one looked at, else the customer's own."""
        store = self._store_of(customer_id, filters)
        return store if store in self.snapshot.popular_in_store else None

    def static(self, products: Sequence[str], k: int, filters: Filters) -> Offer:
        """The first k of the shop's own list; of a category, those that the catalogue knows to be of it."""
        if filters.category is not None:
            code = self._category_codes.get(filters.category)
            known = (self._codes.get(product) for product in products)
            of_category = [place is not None and self._categories[place] == code for place in known]
            products = [product for product, is_of in zip(products, of_category, strict=True) if is_of]
        return static_offer(products, k, filters)

    def _store_of(self, customer_id: str | None, filters: Filters) -> str | None:
        if filters.store_id is not None or customer_id is None:
            return filters.store_id
        number = self.snapshot.customers.get(customer_id)
        return None if number is None else self.snapshot.home_store[number]

    def _allowed(self, codes: npt.NDArray[np.int32], filters: Filters) -> npt.NDArray[np.bool_]:
        allowed = np.ones(len(codes), dtype=np.bool_)
        if filters.category is not None:
            allowed &= self._categories[codes] == self._category_codes.get(filters.category, -1)
        excluded = [self._codes[product] for product in filters.exclude if product in self._codes]
        if excluded:
            allowed &= ~np.isin(codes, excluded)
        return allowed

    def _offer(
        self,
        ranked: list[int],
        tell: _Reasons,
        k: int,
        filters: Filters,
        store: str | None,
        otherwise: str = REASON_POPULAR,
    ) -> Offer:
        """Fill an ordering up to the pool, choose from it, and give reasons for what is shown only."""
        own = len(ranked)
        ordering = list(ranked[:POOL])
        in_store = self.snapshot.popular_in_store.get(store) if store is not None else None
        if in_store is not None and len(ordering) < POOL:
            self._fill(ordering, in_store[self._allowed(in_store, filters)].tolist())
        before_popular = len(ordering)
        if len(ordering) < POOL:
            everywhere = self._popular_everywhere
            if filters.category is not None:
                everywhere = self._popular.get(filters.category, [])
            # Enough for the pool when all others are excluded or have a place already.
            first = everywhere[: POOL + len(ordering) + len(filters.exclude)]
            excluded = set(filters.exclude)
            self._fill(ordering, [code for code in first if self.snapshot.products[code] not in excluded])
        choice = choose(len(ordering), k, self.explored_share, self._chance)
        told = iter(tell([place for place in choice.places if place < own]))
        reasons = [
            next(told) if place < own else (REASON_POPULAR_IN_STORE if place < before_popular else otherwise)
            for place in choice.places
        ]
        return _shown([self.snapshot.products[ordering[place]] for place in choice.places], reasons, choice)

    @staticmethod
    def _fill(ordering: list[int], more: Sequence[int]) -> None:
        placed = set(ordering)
        for code in more:
            if len(ordering) >= POOL:
                return
            if code not in placed:
                placed.add(code)
                ordering.append(code)


def static_offer(products: Sequence[str], k: int, filters: Filters) -> Offer:
    """The first k of the shop's own list, in its order; nothing is drawn. Without a catalogue no category is known."""
    excluded = set(filters.exclude)
    left = [product for product in dict.fromkeys(products) if product not in excluded]
    shown = left[:k]
    return _shown(shown, [REASON_POPULAR] * len(shown), as_ordered(len(shown)))


def _shown(products: Sequence[str], reasons: Sequence[str], choice: Choice) -> Offer:
    items = zip(products, reasons, choice.propensities, strict=True)
    return Offer(
        tuple(Item(product, rank, reason, propensity) for rank, (product, reason, propensity) in enumerate(items, 1)),
        choice.is_explored,
    )
