"""The tables that are published beside the recommendations, so that requests are answered from what the batch saw."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ml.outcomes import DataFailed
from ml.recommender.candidates.own_purchases import best_per_row
from ml.recommender.dataset import History
from ml.recommender.features import PRODUCT_FEATURES
from ml.recommender.snapshot import Codes, Snapshot

STORE_PRODUCTS = 200
"""Products kept of each store: what is shown, after filters."""


def catalogue(history: History, categories: Mapping[str, str | None], candidates: pd.DataFrame | None) -> pd.DataFrame:
    """The catalogue, with the features that the batch scored its products by.

    Args:
        categories: By product id.
        candidates: product_id and `PRODUCT_FEATURES`, one row per product that was a candidate; None: none were.

    Returns:
        product_id, category, place (1: the most popular) and `PRODUCT_FEATURES` (missing where it was no candidate);
        one row per product, by id.
    """
    products = history.products
    place = np.empty(len(products), dtype=np.int32)
    place[history.popular_order] = np.arange(1, len(products) + 1)
    frame = pd.DataFrame(
        {"product_id": products, "category": [categories.get(product) for product in products], "place": place}
    ).astype({"category": object})
    known = pd.DataFrame(columns=list(PRODUCT_FEATURES), dtype=np.float32)
    if candidates is not None:
        known = candidates.set_index("product_id")[list(PRODUCT_FEATURES)]
    values = known.reindex(products).to_numpy(np.float32)
    return pd.concat([frame, pd.DataFrame(values, columns=list(PRODUCT_FEATURES))], axis=1)


def store_products(history: History) -> pd.DataFrame:
    """What is popular in each store: store_id, place (from 1), product_id; at most `STORE_PRODUCTS` a store."""
    if history.store_popularity.shape[0] == 0:
        return pd.DataFrame({"store_id": [], "place": [], "product_id": []}, dtype=object)
    store, product, _ = best_per_row(history.store_popularity, STORE_PRODUCTS, history.popularity)
    frame = pd.DataFrame(
        {"store_id": history.stores.to_numpy()[store], "product_id": history.products.to_numpy()[product]}
    )
    frame.insert(1, "place", (frame.groupby("store_id", sort=False).cumcount() + 1).astype(np.int32))
    return frame[frame["store_id"] != ""].reset_index(drop=True)


def known_customers(history: History) -> pd.DataFrame:
    """customer_id and home_store_id (null without one) of the customers whose purchases are known."""
    names = np.array([None if store == "" else store for store in history.stores] + [None], dtype=object)
    # A home of -1, a store that sold nothing lately, takes the last name: none.
    return pd.DataFrame({"customer_id": history.customers.to_numpy(), "home_store_id": names[history.home_store]})


def snapshot(
    catalogue: pd.DataFrame,
    store_products: pd.DataFrame,
    known_customers: pd.DataFrame,
    recommendations: pd.DataFrame,
) -> Snapshot:
    """The published tables as arrays.

    Args:
        recommendations: customer_id, rank, product_id, reason.

    Raises:
        DataFailed: A list holds a product that is not in the catalogue.
    """
    products = pd.Index(catalogue["product_id"])
    shown = recommendations.sort_values(["customer_id", "rank"], kind="stable")
    row, customers = pd.factorize(shown["customer_id"])
    place = shown["rank"].to_numpy(np.int64) - 1
    width = int(place.max()) + 1 if len(place) else 0
    reason, reasons = pd.factorize(shown["reason"])
    lists = np.full((len(customers), width), -1, dtype=np.int32)
    lists[row, place] = _codes(products, shown["product_id"], "recommendations")
    list_reasons = np.zeros((len(customers), width), dtype=np.int32)
    list_reasons[row, place] = reason
    by_store = store_products.sort_values(["store_id", "place"], kind="stable")
    homes = known_customers.set_index("customer_id")["home_store_id"].reindex(customers)
    return Snapshot(
        products=tuple(products),
        categories=tuple(None if pd.isna(category) else str(category) for category in catalogue["category"]),
        features=catalogue[list(PRODUCT_FEATURES)].to_numpy(np.float32),
        popular=np.argsort(catalogue["place"].to_numpy(), kind="stable").astype(np.int32),
        popular_in_store={
            str(store): _codes(products, of_store["product_id"], "store products")
            for store, of_store in by_store.groupby("store_id", sort=False)
        },
        customers={str(customer): number for number, customer in enumerate(customers)},
        home_store=tuple(None if pd.isna(store) else str(store) for store in homes),
        is_known=pd.Index(customers).isin(known_customers["customer_id"]),
        lists=lists,
        list_reasons=list_reasons,
        reasons=tuple(str(reason) for reason in reasons),
    )


def _codes(products: pd.Index, ids: pd.Series, table: str) -> Codes:
    codes: Codes = products.get_indexer(pd.Index(ids)).astype(np.int32)
    if (codes < 0).any():
        raise DataFailed(f"{table}: {int((codes < 0).sum())} rows name a product that is not in the catalogue")
    return codes
