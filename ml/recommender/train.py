"""Training rows and the training of the ranker."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xgboost as xgb

from ml.outcomes import DataFailed
from ml.recommender.candidates import propose
from ml.recommender.config import RankerConfig, RecommenderConfig
from ml.recommender.dataset import History
from ml.recommender.evaluate import Cut
from ml.recommender.features import Feed, add_features


def rows_of_cut(cut: Cut, feed: Feed, config: RecommenderConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Candidates with features, for learning and for reference.

    Returns:
        All candidates of the cut's customers with their label (bought in the week after the cut); and those of
        customers drawn from all that have a history, as scoring would see them. Drift compares scored rows with
        the second: the first are of customers who went on to buy.
    """
    drawn = _drawn_customers(cut.history, config)
    pairs = propose(cut.history, sorted({*cut.customers, *drawn}), config)
    rows = add_features(cut.history, pairs, feed(cut.history, pairs))
    rows.insert(0, "cut", cut.as_of_date)
    bought = cut.truth[["customer_id", "product_id"]].assign(label=np.int8(1))
    labelled = rows[rows["customer_id"].isin(cut.customers)]
    labelled = labelled.merge(bought, on=["customer_id", "product_id"], how="left", validate="one_to_one")
    labelled["label"] = labelled["label"].fillna(0).astype(np.int8)
    return labelled, rows[rows["customer_id"].isin(drawn)].reset_index(drop=True)


def _drawn_customers(history: History, config: RecommenderConfig) -> list[str]:
    draw = np.random.default_rng([config.seed, history.as_of_date.toordinal()])
    chosen = draw.permutation(len(history.customers))[: config.reference_customers]
    return list(history.customers[np.sort(chosen)])


def sample_negatives(rows: pd.DataFrame, per_customer: int, seed: int) -> pd.DataFrame:
    """Keep every purchase and at most `per_customer` other candidates of each customer and cut.

    Customers without a purchase among their candidates teach nothing and are left out.
    """
    draw = np.random.default_rng(seed).random(len(rows))
    group = [rows["cut"], rows["customer_id"]]
    has_positive = rows.groupby(group)["label"].transform("max") == 1
    negative = rows["label"] == 0
    place = pd.Series(np.where(negative, draw, np.inf), index=rows.index).groupby(group).rank(method="first")
    return rows[has_positive & (~negative | (place <= per_customer))].reset_index(drop=True)


def fit(rows: pd.DataFrame, features: Sequence[str], config: RankerConfig, seed: int) -> xgb.Booster:
    """Train `rank:ndcg` with one group per cut and customer.

    Raises:
        DataFailed: No row carries a purchase.
    """
    if rows.empty or not rows["label"].any():
        raise DataFailed("training set: no candidate was bought in any label week")
    ordered = rows.sort_values(["cut", "customer_id", "product_id"], kind="stable")
    matrix = xgb.QuantileDMatrix(
        ordered[list(features)].to_numpy(np.float32),
        label=ordered["label"].to_numpy(np.float32),
        qid=ordered.groupby(["cut", "customer_id"]).ngroup().to_numpy(),
        feature_names=list(features),
        max_bin=config.max_bin,
        nthread=config.threads,
    )
    return xgb.train(parameters(config, seed), matrix, num_boost_round=config.trees)


def parameters(config: RankerConfig, seed: int) -> dict[str, object]:
    """XGBoost's parameters of a config."""
    return {
        "objective": "rank:ndcg",
        "lambdarank_pair_method": "topk",
        "lambdarank_num_pair_per_sample": config.pairs_per_item,
        "tree_method": "hist",
        "max_bin": config.max_bin,
        "max_depth": config.depth,
        "eta": config.learning_rate,
        "min_child_weight": config.min_child_weight,
        "subsample": config.row_share,
        "colsample_bytree": config.column_share,
        "lambda": config.l2,
        "nthread": config.threads,
        "seed": seed,
        "verbosity": 0,
    }
