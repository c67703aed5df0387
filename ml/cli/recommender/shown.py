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
        marts_version: What they were made from.
        is_withdrawn: Those marts were rolled back from since.
    """

    is_known: bool
    as_of_date: str
    model_version: str
    rows: list[dict[str, Any]]
    marts_version: str = ""
    is_withdrawn: bool = False


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
        made_from = lineage.get("marts_version", "")
        is_withdrawn = made_from in marts.store.withdrawn()
        return Shown(True, lineage["as_of_date"], lineage["model_version"], rows, made_from, is_withdrawn)
    popular = _popular(settings, marts, connection, customer_id)
    return Shown(False, marts.as_of_date.isoformat(), "popularity", popular, marts.version.id)


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
