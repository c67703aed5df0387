"""What is served is loaded beside the old, checked, and switched by one reference.

A slot watches one thing (a product's model with its policy and data) by a cheap fingerprint. When the fingerprint
changes, the new is checked, then loaded, both outside the event loop; only then does `current` point at it. What is
refused leaves the old where it is. Whoever answers a request reads `current` once and keeps it to the request's end,
so that no answer mixes two versions.

A verdict ("the data failed") stands until the fingerprint changes; an accident ("the tool failed") is tried again,
with growing pauses.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from ml.outcomes import DataFailed, ToolFailed
from ml.serving.memory import give_back
from ml.serving.pacing import paced


class Versioned(Protocol):
    """What a slot serves: it knows the model that it was made with."""

    @property
    def model_version(self) -> str | None: ...


T = TypeVar("T", bound=Versioned)

NO_MODEL = ""
"""In place of a model's version: load the rest without one, because none of the chain can be served."""

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 60.0
_STOP_SECONDS = 5.0
_NEVER = "\0never"


@dataclass(frozen=True)
class Alternative(Generic[T]):
    """Something older to serve when nothing is loaded yet and the newest was refused.

    Attributes:
        load: Checks and loads it.

    Raises:
        DataFailed: From `load`, when it cannot be served either.
    """

    version: str
    load: Callable[[], T]


@dataclass(frozen=True)
class Refusal:
    """Why the newest is not served.

    Attributes:
        reason: Names and rules, never values.
        is_verdict: Its data failed: it is not tried again until something changes. Else a tool failed.
        attempts: How often in a row.
    """

    reason: str
    is_verdict: bool
    attempts: int = 1


class Slot(Generic[T]):
    """One thing that is loaded beside the old and switched atomically.

    Args:
        name: The product, as in incidents and conditions.
        fingerprint: Cheap; differs when there is something new to load.
        load: Makes what is served; it may take seconds.
        check: Judges what `load` would load, before it is loaded here; raises DataFailed or ToolFailed.
        alternatives: Older ones, newest first; asked only when nothing is loaded and the newest was refused.
    """

    def __init__(
        self,
        name: str,
        fingerprint: Callable[[], str],
        load: Callable[[], T],
        check: Callable[[], None],
        alternatives: Callable[[], Sequence[Alternative[T]]],
    ) -> None:
        self.name = name
        self.current: T | None = None
        self.refusal: Refusal | None = None
        self._fingerprint, self._load, self._check, self._alternatives = fingerprint, load, check, alternatives
        self._loaded = self._refused = _NEVER
        self._is_older = False
        self._again_at = 0.0
        self._lock = threading.Lock()

    def refresh(self) -> bool:
        """Look once, and load what is new. Nothing is raised: a refusal is kept in `refusal`.

        Returns:
            Whether something happened: a switch, a refusal, or the end of one.
        """
        with self._lock:
            return self._refresh()

    def _refresh(self) -> bool:
        try:
            found = self._fingerprint()
        except Exception as error:  # noqa: BLE001 - whatever it is, the old goes on serving
            return self._refuse(_NEVER, error) if self._is_due(_NEVER) else False
        if found == self._loaded:
            was_refused, self.refusal, self._refused = self.refusal is not None, None, _NEVER
            return was_refused
        if not self._is_due(found):
            return False
        try:
            self._check()
            loaded = self._load()
        except Exception as error:  # noqa: BLE001 - whatever it is, the old goes on serving
            return self._refuse(found, error)
        self.current = loaded
        self._loaded, self._refused, self.refusal, self._is_older = found, _NEVER, None, False
        return True

    def _is_due(self, found: str) -> bool:
        if self.refusal is None or found != self._refused:
            return True
        return not self.refusal.is_verdict and time.monotonic() >= self._again_at

    def _refuse(self, found: str, error: Exception) -> bool:
        """Keep why. An unforeseen exception may hold anything in its text, so only its type is told."""
        told = str(error) if isinstance(error, DataFailed | ToolFailed) else type(error).__name__
        # What is no verdict may be a store that is busy: the same bytes may load the next time.
        is_verdict = isinstance(error, DataFailed) and found != _NEVER
        attempts = self.refusal.attempts + 1 if self.refusal is not None and found == self._refused else 1
        self.refusal, self._refused = Refusal(told, is_verdict, attempts), found
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** min(attempts - 1, 10), _LONGEST_PAUSE_SECONDS)
        self._again_at = time.monotonic() + pause
        _LOG.error("%s: the newest is not served: %s", self.name, told)
        if self.current is None:
            self._serve_alternative()
        return True

    def _serve_alternative(self) -> None:
        try:
            alternatives = self._alternatives()
        except Exception as error:  # noqa: BLE001 - the same pointer that could not be followed to the newest
            _LOG.error("%s: nothing older to serve: %s", self.name, type(error).__name__)
            return
        for alternative in alternatives:
            try:
                self.current = alternative.load()
            except Exception as error:  # noqa: BLE001 - the next one may do
                _LOG.error("%s: %s is not served either: %s", self.name, alternative.version, type(error).__name__)
                continue
            self._is_older = True
            return

    def condition(self) -> dict[str, Any]:
        """`version`: what is loaded (None: nothing); `refused`: why the newest is not; `is_older`: by its chain."""
        current, refusal = self.current, self.refusal
        return {
            "version": None if current is None else current.model_version,
            "refused": refusal.reason if refusal else None,
            "is_older": self._is_older,
        }


class Loader:
    """Watches the slots of one process in one thread.

    Args:
        slots: What is loaded.
        poll_seconds: Pause between two looks at the fingerprints.
        tell: Called after each switch, refusal and end of a refusal, in the loader's thread: opens and closes
            incidents. What it raises is logged and changes nothing.
    """

    def __init__(
        self, slots: Sequence[Slot[Any]], poll_seconds: float = 1.0, *, tell: Callable[[Slot[Any]], None] | None = None
    ) -> None:
        self._slots, self._poll_seconds, self._tell = tuple(slots), poll_seconds, tell
        self._stops = threading.Event()
        self._thread: threading.Thread | None = None

    def load_now(self) -> None:
        """Look at every slot once, in the calling thread, and load what is new."""
        for slot in self._slots:
            if self._stops.is_set():
                return
            if not slot.refresh():
                continue
            give_back()
            if self._tell is not None:
                try:
                    self._tell(slot)
                except Exception as error:  # noqa: BLE001 - alerts that cannot be stored do not end serving
                    _LOG.error("%s: no incident could be recorded: %s", slot.name, type(error).__name__)

    def start(self) -> None:
        """Go on looking, in a thread that leaves the processor to requests, until `stop`."""
        self._thread = threading.Thread(target=self._watch, name="loader", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stops.wait(self._poll_seconds):
            with paced():
                self.load_now()

    def stop(self) -> None:
        """End the thread; a load that is under way is not waited for longer than some seconds."""
        self._stops.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    def condition(self) -> dict[str, Any]:
        """Per slot: the version loaded and why the newest is refused, if it is."""
        return {slot.name: slot.condition() for slot in self._slots}
