"""Brings customers' rows back into an online store that has lost them, from what is published.

A store that was flushed or restarted empty is found out by the first request that reads it. The request is answered
without it; meanwhile one thread of one process fills the store again.
"""

import logging
import threading

from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings
from ml.stores.durable import exclusive_lock_if_free
from ml.stores.published_rows import restore_online

PAUSE_SECONDS = 10.0
"""Between two attempts: a store that loses rows all the time must not keep a process busy."""

_LOG = logging.getLogger(__name__)


class RowsKeeper:
    """One thread; several processes take turns by a file lock."""

    def __init__(self, settings: Settings, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._settings, self._pause_seconds = settings, pause_seconds
        self._are_lost, self._ends = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def lost(self) -> None:
        """Rows that should be there are not. Returns at once; from any thread."""
        self._are_lost.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="rows-keeper", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread; a store that is being filled is left to the next process."""
        self._ends.set()
        self._are_lost.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def _keep(self) -> None:
        while not self._ends.is_set():
            self._are_lost.wait()
            self._are_lost.clear()
            if self._ends.is_set():
                return
            try:
                with exclusive_lock_if_free(self._settings.shop_dir / "serving" / ".rows.lock") as is_held:
                    if is_held and restore_online(self._settings):
                        _LOG.warning("customers' rows were lost from the online store and are there again")
            except (DataFailed, ToolFailed) as error:
                _LOG.error("customers' rows cannot be brought back: %s", error)
            except Exception as error:  # noqa: BLE001 - the thread must live on
                _LOG.error("customers' rows cannot be brought back: %s", type(error).__name__)
            self._ends.wait(self._pause_seconds)
