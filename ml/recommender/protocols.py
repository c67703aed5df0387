"""What a recommender is, for the ranker and the baselines alike."""

from datetime import date
from typing import Protocol

import pandas as pd

from ml.recommender.dataset import History

RECOMMENDATION_COLUMNS = ("customer_id", "rank", "product_id", "score", "reason", "source")


class Recommender(Protocol):
    """Anything that can be champion.

    Attributes:
        name: Name in tables and verdicts.
        kind: "baseline" or "ranker", as in the registry's manifest.
    """

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    def recommend(self, history: History, customers: list[str], as_of_date: date, k: int) -> pd.DataFrame:
        """The k best products of the catalogue for each customer.

        Returns:
            `RECOMMENDATION_COLUMNS`, rank from 1, ordered by customer as given and rank. A customer
            without history gets what is popular, and the reason says so.
        """
        ...
