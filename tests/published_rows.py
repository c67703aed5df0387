"""A published version of one customer's row, and a store that loses what it held."""

import pyarrow as pa

from ml.settings import Settings
from ml.stores.customer_rows import RowsVersion
from ml.stores.published_rows import CUSTOMER_ROWS, fill_online, make_current, published_store


def publish_rows(settings: Settings, day: str, row: bytes) -> RowsVersion:
    store = published_store(settings)
    table = pa.table({"customer_id": ["ann"], "row": pa.array([row], pa.binary())})
    part = store.write_part(CUSTOMER_ROWS, day, table)
    fill_online(settings, store, part)
    current = store.current()
    store.publish([part], {"as_of_date": day, "marts_version": "v"}, current.id if current else None)
    make_current(settings, part)
    return RowsVersion(part.sha256, day, 1)


def lose_rows(settings: Settings) -> None:
    """The store is emptied, as by a flush or a lost disk."""
    if settings.state_url is None:
        for path in (settings.shop_dir / "serving").glob("customers.db*"):
            path.unlink()
    else:
        from redis import Redis

        Redis.from_url(settings.state_url.get_secret_value()).flushall()
