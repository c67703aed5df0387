"""The ranker's inputs: one row per candidate pair, from three places and the candidate stage."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.recommender.candidates import CANDIDATE_FEATURES
from ml.recommender.dataset import History

KEYS = ("customer_id", "product_id")


@dataclass(frozen=True)
class FeatureTables:
    """What features are made of, as of one day.

    Attributes:
        pair_sql: Query with parameter $as_of_date over the mart views and the relation `candidates`.
        customer: customer_id and features of customers; customers without a row get missing values.
        product: product_id and features of products.
    """

    pair_sql: str
    customer: pd.DataFrame
    product: pd.DataFrame


def add_features(history: History, pairs: pd.DataFrame, tables: FeatureTables) -> pd.DataFrame:
    """Join all features to candidate pairs as float32; the order of rows stays."""
    connection = history.connection
    connection.register("candidates", pairs[list(KEYS)])
    try:
        pair_features = connection.execute(tables.pair_sql, {"as_of_date": history.as_of_date}).df()
    finally:
        connection.unregister("candidates")
    joined = (
        pairs.merge(pair_features, on=list(KEYS), how="left", validate="one_to_one")
        .merge(tables.customer, on="customer_id", how="left", validate="many_to_one")
        .merge(tables.product, on="product_id", how="left", validate="many_to_one")
    )
    assert len(joined) == len(pairs), f"{len(pairs)} pairs became {len(joined)} rows"
    names = feature_names(joined.columns)
    return joined.astype({name: np.float32 for name in names})


def feature_names(columns: Sequence[str]) -> list[str]:
    """Columns of a joined frame that are features, candidate features first."""
    not_features = {*KEYS, "source", "cut", "label", *CANDIDATE_FEATURES}
    return [*CANDIDATE_FEATURES, *(name for name in columns if name not in not_features)]
