"""The frame that row rules judge, and the days that a shop is open."""

from datetime import date, timedelta

import pandas as pd

from expectations.casting import Conformed
from expectations.suites.arrivals.from_contract import UNREADABLE
from ml.settings import Settings
from ml.shop.contract.table import ColumnType, Table


def open_days(settings: Settings, first: date, last: date) -> list[date]:
    """Days of [first, last] on which the shop is not closed."""
    days = (first + timedelta(days=offset) for offset in range((last - first).days + 1))
    return [day for day in days if not settings.is_closed(day)]


def delivered_frame(table: Table, conformed: Conformed) -> pd.DataFrame:
    # Great Expectations hashes and copies its frames. That is cheaper for dictionaries than for texts, where texts
    # repeat: not in a column that is the key by itself.
    texts = {column.name for column in table.columns if column.type is ColumnType.STRING}
    frame: pd.DataFrame = conformed.rows.to_pandas(
        categories=sorted(texts - {table.key[0]} if len(table.key) == 1 else texts)
    )
    return frame.assign(**{UNREADABLE.format(name): mask.to_pandas() for name, mask in conformed.unreadable.items()})
