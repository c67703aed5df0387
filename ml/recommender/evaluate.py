"""The next-week protocol: any recommender, on the same customers, catalogue and truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pandas as pd

from ml.evaluation.ranking_metrics import Judged, K, catalogue_coverage, judge_rankings, pool
from ml.recommender.config import RecommenderConfig
from ml.recommender.dataset import History, read_history, read_truth
from ml.recommender.protocols import Recommender


@dataclass(frozen=True)
class Cut:
    """One cut of the protocol.

    Attributes:
        customers: Those judged: enough trips before the cut, and something bought in the week after it.
        truth: customer_id, product_id, is_repeat of those customers.
    """

    as_of_date: date
    history: History
    customers: list[str]
    truth: pd.DataFrame


def open_cut(connection: duckdb.DuckDBPyConnection, as_of_date: date, config: RecommenderConfig) -> Cut:
    """Read the history before a Monday and the truth of the week after it."""
    history = read_history(connection, as_of_date, config.history)
    truth = read_truth(connection, as_of_date)
    codes = history.customers.get_indexer(pd.Index(truth["customer_id"]))
    trips = np.where(codes >= 0, history.count_trips[codes], 0)
    truth = truth[trips >= config.split.min_trips].reset_index(drop=True)
    return Cut(as_of_date, history, sorted(truth["customer_id"].unique()), truth)


def judge(cut: Cut, recommended: pd.DataFrame) -> Judged:
    """Judge what a method recommends for `cut.customers`."""
    per_customer = judge_rankings(recommended, cut.truth)
    per_customer.insert(0, "cut", cut.as_of_date)
    asked = recommended[recommended["customer_id"].isin(cut.customers)]
    return Judged(per_customer, catalogue_coverage(asked, len(cut.history.products), K))


def judge_all(cut: Cut, recommenders: Sequence[Recommender]) -> dict[str, Judged]:
    """Judge recommenders on the same cut, by name."""
    return {one.name: judge(cut, one.recommend(cut.history, cut.customers, cut.as_of_date, K)) for one in recommenders}


def pool_cuts(by_cut: Sequence[dict[str, Judged]]) -> dict[str, Judged]:
    """Several cuts as one, by name of the method."""
    return {name: pool([judged[name] for judged in by_cut]) for name in by_cut[0]}
