"""API keys: random, shown once, kept as their sha256; what a key may do stands beside it in the settings."""

import hashlib
import hmac
import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

_BYTES = 32
_MAX_KEY_CHARACTERS = 200
_FAILURES = 20
_FAILURE_SECONDS = 60.0
_MAX_CLIENTS = 10_000


@dataclass(frozen=True)
class Caller:
    """Who asks, and what for."""

    name: str
    scopes: frozenset[str]


def new_key() -> str:
    """A key that nobody can guess. It is shown once and not kept."""
    return secrets.token_urlsafe(_BYTES)


def key_digest(key: str) -> str:
    """What is kept of a key. It has 256 random bits, so a fast hash without salt gives nothing away."""
    return hashlib.sha256(key.encode()).hexdigest()


class KeyRing:
    """The keys of the settings.

    Args:
        grants: Name -> digest and scopes, as in `SHOPWRIGHT_API_KEYS`; two digests while a key is replaced.
    """

    def __init__(self, grants: Mapping[str, str]) -> None:
        self._callers: list[tuple[bytes, Caller]] = []
        for name, grant in grants.items():
            parts = grant.split(" ")
            caller = Caller(name, frozenset(part for part in parts if ":" in part))
            self._callers += [(part.encode(), caller) for part in parts if ":" not in part]

    def caller_of(self, key: str) -> Caller | None:
        """Whose key it is; None for nobody's. All digests are compared, whichever matches."""
        if not 0 < len(key) <= _MAX_KEY_CHARACTERS:
            return None
        digest, found = key_digest(key).encode(), None
        for known, caller in self._callers:
            if hmac.compare_digest(known, digest):
                found = caller
        return found


class FailedAttempts:
    """How often a client came with a wrong key lately. A right key is never held up by it."""

    def __init__(self, limit: int = _FAILURES, seconds: float = _FAILURE_SECONDS) -> None:
        self._limit, self._seconds = limit, seconds
        self._lock, self._at = threading.Lock(), dict[str, deque[float]]()

    def note(self, client: str) -> float | None:
        """Count one more.

        Returns:
            Seconds until the client may try again; None while it may.
        """
        now = time.monotonic()
        with self._lock:
            if client not in self._at and len(self._at) >= _MAX_CLIENTS:
                self._at.pop(next(iter(self._at)))
            attempts = self._at.setdefault(client, deque(maxlen=self._limit + 1))
            while attempts and now - attempts[0] >= self._seconds:
                attempts.popleft()
            attempts.append(now)
            return None if len(attempts) <= self._limit else self._seconds - (now - attempts[1])
