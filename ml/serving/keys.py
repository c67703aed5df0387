"""API keys: random, shown once, kept as their sha256; what a key may do stands beside it in the settings.

While a key is replaced, two are taken under one name; each may have a last day, in the shop's time zone.
"""

import hashlib
import hmac
import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, tzinfo

from ml.settings import PREFIX, SettingsError, wall_clock

_BYTES = 32
_MAX_KEY_CHARACTERS = 200
_FAILURES = 20
_FAILURE_SECONDS = 60.0
_MAX_CLIENTS = 10_000


class Expired(Exception):
    """A key or token that was good and is no longer."""


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
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class KeyRing:
    """The keys of the settings.

    Args:
        grants: Name -> digest and scopes, as in `SHOPWRIGHT_API_KEYS`; two digests while a key is replaced, each with
            its last day if it has one.
        zone: Whose days they are.
    """

    def __init__(self, grants: Mapping[str, str], zone: tzinfo = UTC) -> None:
        self._zone = zone
        self._callers: list[tuple[bytes, date | None, Caller]] = []
        for name, grant in grants.items():
            parts = grant.split(" ")
            caller = Caller(name, frozenset(part for part in parts if ":" in part))
            for part in parts:
                if ":" not in part:
                    digest, _, last = part.partition("@")
                    self._callers.append((digest.encode(), _last_day(name, last), caller))

    def caller_of(self, key: str) -> Caller | None:
        """Whose key it is; None for nobody's. All digests are compared, whichever matches.

        Raises:
            Expired: Its last day is over.
        """
        if not 0 < len(key) <= _MAX_KEY_CHARACTERS:
            return None
        digest = key_digest(key).encode()
        found: list[tuple[date | None, Caller]] = []
        for known, last, caller in self._callers:
            if hmac.compare_digest(known, digest):
                found.append((last, caller))
        if not found:
            return None
        last, caller = found[0]
        if last is not None and wall_clock().astimezone(self._zone).date() > last:
            raise Expired
        return caller


def _last_day(name: str, text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise SettingsError(f"{PREFIX}API_KEYS: {name}: expected a last day such as 2027-01-31") from None


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
