"""How far the counted features lag behind what was posted: the age of the oldest event that is not yet in them."""

import threading
from contextlib import suppress
from datetime import datetime

from ml.fraud.declaration import declaration
from ml.fraud.state_records import state_digest
from ml.outcomes import ToolFailed
from ml.settings import Settings, wall_clock
from ml.stores.log_entries import COUNTED_KINDS
from ml.stores.serving_log import ServingLog
from ml.stores.state_store import StateStore, open_state_store

POLL_SECONDS = 0.25
_KNOWN_FOR_SECONDS = 5.0


class FeatureLag:
    """Asks the log and the state a few times a second, on a thread of its own."""

    def __init__(self, settings: Settings, log: ServingLog) -> None:
        self._log, self._state = log, open_state_store(settings, state_digest(declaration()))
        self._asked_at: datetime | None = None
        self._waits_since: datetime | None = None
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="feature-lag", daemon=True)
        self._thread.start()

    def seconds(self) -> float | None:
        """0 when everything posted is in the features; None when that could not be found out lately."""
        asked_at, waits_since = self._asked_at, self._waits_since
        if asked_at is None:
            return None
        now = wall_clock()
        if (now - asked_at).total_seconds() > _KNOWN_FOR_SECONDS:
            return None
        return 0.0 if waits_since is None else round(max(0.0, (now - waits_since).total_seconds()), 3)

    def stop(self) -> None:
        self._stops.set()
        self._thread.join(timeout=5)

    def _poll(self) -> None:
        while not self._stops.is_set():
            with suppress(ToolFailed):  # what was known is forgotten after a while; readers find out at once
                self._ask(self._state)
            self._stops.wait(POLL_SECONDS)

    def _ask(self, state: StateStore) -> None:
        now, position = wall_clock(), state.position()
        if position is None:
            return
        waiting = self._log.read_after(position.applied, 1, COUNTED_KINDS)
        self._waits_since = waiting[0].taken_at if waiting else None
        self._asked_at = now
