"""Ranking metrics of the next-week protocol, per customer and in summary.

Definitions, at K places, for one customer with truth t (all products bought in the label week, also those
that nobody could have recommended):

- recall = hits / |t|
- ndcg = sum over hits of 1/log2(rank+1), over the same sum for min(|t|, K) hits at the top
- average precision = sum over hits of precision at the hit's rank, over min(|t|, K)
- hit = 1 if there is any hit
- repeat and explore parts: the same recall and ndcg with the truth cut down to products that the
  customer had bought before, or had not; undefined (NaN) for a customer without such truth
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

K = 10
PARTS = ("", "_repeat", "_explore")
METRICS = (
    "recall",
    "ndcg",
    "average_precision",
    "hit",
    "recall_repeat",
    "ndcg_repeat",
    "recall_explore",
    "ndcg_explore",
)


@dataclass(frozen=True)
class Judged:
    """One method on one or more cuts.

    Attributes:
        per_customer: cut, customer_id and `METRICS`; one row per customer and cut.
        coverage: Mean over cuts of the share of the catalogue that at least one customer was shown.
    """

    per_customer: pd.DataFrame
    coverage: float

    def summary(self) -> dict[str, float]:
        """Means over customers and cuts; a part's mean is over the customers that have it."""
        means = {f"{name}_at_{K}": float(self.per_customer[name].mean()) for name in METRICS}
        means[f"map_at_{K}"] = means.pop(f"average_precision_at_{K}")
        means[f"hit_rate_at_{K}"] = means.pop(f"hit_at_{K}")
        return means | {"coverage": self.coverage, "count_customers": float(len(self.per_customer))}


def judge_rankings(recommended: pd.DataFrame, truth: pd.DataFrame, k: int = K) -> pd.DataFrame:
    """Metrics per customer of the truth; a customer that was shown nothing gets zeros.

    Args:
        recommended: customer_id, product_id, rank (from 1).
        truth: customer_id, product_id, is_repeat; once per pair.

    Returns:
        customer_id and `METRICS`, one row per customer in `truth`.
    """
    shown = recommended.loc[recommended["rank"] <= k, ["customer_id", "product_id", "rank"]]
    marked = truth.merge(shown, on=["customer_id", "product_id"], how="left", validate="one_to_one")
    marked["is_explore"] = ~marked["is_repeat"]
    marked["is_hit"] = marked["rank"].notna()
    marked["gain"] = (1.0 / np.log2(marked["rank"] + 1.0)).fillna(0.0)
    marked = marked.sort_values(["customer_id", "rank"])
    hits_so_far = marked.groupby("customer_id")["is_hit"].cumsum()
    marked["precision"] = (hits_so_far / marked["rank"]).where(marked["is_hit"], 0.0)
    metrics = _parts(marked, k)
    grouped = marked.groupby("customer_id")
    metrics["average_precision"] = grouped["precision"].sum() / grouped.size().clip(upper=k)
    metrics["hit"] = grouped["is_hit"].any().astype(float)
    return metrics[list(METRICS)].reset_index()


def _parts(marked: pd.DataFrame, k: int) -> pd.DataFrame:
    ideal = np.concatenate([[np.nan], np.cumsum(1.0 / np.log2(np.arange(1, k + 1) + 1.0))])
    customers = pd.Index(marked["customer_id"].unique(), name="customer_id")
    metrics = pd.DataFrame(index=customers)
    for part in PARTS:
        rows = marked if not part else marked[marked[f"is{part}"]]
        grouped = rows.groupby("customer_id")
        size = grouped.size().reindex(customers, fill_value=0)
        hits = grouped["is_hit"].sum().reindex(customers, fill_value=0)
        gains = grouped["gain"].sum().reindex(customers, fill_value=0.0)
        metrics[f"recall{part}"] = hits / size.where(size > 0)
        metrics[f"ndcg{part}"] = gains / ideal[np.minimum(size.to_numpy(), k)]
    return metrics


def catalogue_coverage(recommended: pd.DataFrame, catalogue_size: int, k: int = K) -> float:
    """Share of the catalogue that is among the first k of at least one customer."""
    return recommended.loc[recommended["rank"] <= k, "product_id"].nunique() / catalogue_size


def pool(judged: list[Judged]) -> Judged:
    """Several cuts as one."""
    return Judged(
        pd.concat([one.per_customer for one in judged], ignore_index=True),
        float(np.mean([one.coverage for one in judged])),
    )
