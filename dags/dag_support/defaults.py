"""How every task behaves: retries, limits, pools and what happens at its end."""

from datetime import timedelta
from typing import Any

from dag_support import callbacks

FEATURE_STORE_POOL = "feature_store"
"""One slot: the feature registry is a file and has one writer."""
WAREHOUSE_POOL = "warehouse"
"""One slot: the scratch DuckDB file has one writer."""

OWNER = "shop-data"

TASK_ARGS: dict[str, Any] = {
    "owner": OWNER,
    # An accident of a tool is tried again; a verdict about the data is not (`steps.run_step`).
    "retries": 2,
    "retry_delay": timedelta(seconds=15),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
    "execution_timeout": timedelta(minutes=45),
    "on_failure_callback": callbacks.on_failure,
    "on_retry_callback": callbacks.on_retry,
    "on_success_callback": callbacks.on_success,
}
