"""Published recommendations of one customer."""

from dataclasses import dataclass
from typing import Any

import duckdb

from ml.cli.recommender.inputs import configuration, recommendations_store
from ml.recommender.baselines import Baseline, popularity_scores
from ml.recommender.dataset import read_history
from ml.settings import Settings
from ml.stores.warehouse import Marts, open_marts

_OF_CUSTOMER = """
    select shown.rank, shown.product_id, shown.score, shown.reason, shown.source, dim_products.name
    from shown left join dim_products using (product_id)
    order by shown.rank
"""


@dataclass(frozen=True)
class Shown:
    """What a customer is shown.

    Attributes:
        is_known: Whether the customer is among those that were scored; others get what is popular.
        rows: rank, product_id, name, score, reason, source.
    """

    is_known: bool
    as_of_date: str
    model_version: str
    rows: list[dict[str, Any]]


def shown_to(settings: Settings, customer_id: str) -> Shown | None:
    """The published recommendations of a customer; None before the first publication."""
    store = recommendations_store(settings)
    version = store.current()
    if version is None:
        return None
    marts = open_marts(settings)
    connection = marts.connect()
    files = [str(path) for path in store.open_table(version, "recommendations")]
    published = connection.from_parquet(files) if files else None
    found = published.filter(duckdb.ColumnExpression("customer_id") == customer_id).df() if published else None
    lineage = version.lineage
    if found is not None and not found.empty:
        rows = _named(connection, found)
        return Shown(True, lineage["as_of_date"], lineage["model_version"], rows)
    return Shown(False, marts.as_of_date.isoformat(), "popularity", _popular(settings, marts, connection, customer_id))


def _popular(
    settings: Settings, marts: Marts, connection: duckdb.DuckDBPyConnection, customer_id: str
) -> list[dict[str, Any]]:
    config = configuration(settings)
    history = read_history(connection, marts.as_of_date, config.history)
    popular = Baseline("popularity", popularity_scores, config.baselines)
    return _named(connection, popular.recommend(history, [customer_id], marts.as_of_date, config.shown))


def _named(connection: duckdb.DuckDBPyConnection, shown: Any) -> list[dict[str, Any]]:
    connection.register("shown", shown)
    rows: list[dict[str, Any]] = connection.execute(_OF_CUSTOMER).df().to_dict("records")
    return rows
