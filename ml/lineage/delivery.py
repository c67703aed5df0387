"""Where events go: a file beside the shop's state, or an HTTP address. Nothing waits for it and nothing fails by it."""

import contextlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from ml.lineage.manifest import lineage_dir
from ml.settings import Settings
from ml.stores.durable import exclusive_lock
from ml.stores.operations import Operations, monitor_states

MONITOR, OBJECT = "lineage", "events"
_TIMEOUT_SECONDS = 2.0
_DEFAULT_PATH = "/api/v1/lineage"
_MAX_FILE_BYTES = 50_000_000
_ACCEPTED = range(200, 300)


@dataclass(frozen=True)
class Delivery:
    """What became of some events.

    Attributes:
        problem: Why some were not sent; None when all were.
    """

    sent: int
    unsent: int
    problem: str | None = None


def events_path(settings: Settings) -> Path:
    return lineage_dir(settings) / "events.jsonl"


def deliver(settings: Settings, lines: Sequence[str]) -> Delivery:
    """Send events, one JSON text each, to where the settings say. A failure is returned, never raised.

    After the first that an address does not take, the others are not tried: nobody waits for a server that is away.
    What it did not take is kept in the file.
    """
    send = _post if settings.lineage_url else _append
    for sent, line in enumerate(lines):
        try:
            send(settings, line)
        except (OSError, ValueError, http.client.HTTPException) as error:
            if settings.lineage_url:
                _keep(settings, lines[sent:])
            return Delivery(sent, len(lines) - sent, _explain(error))
    return Delivery(len(lines), 0)


def _keep(settings: Settings, lines: Sequence[str]) -> None:
    with contextlib.suppress(OSError):  # they count as unsent already
        for line in lines:
            _append(settings, line)


def note(settings: Settings, day: str, delivery: Delivery) -> None:
    """Add to what `shopwright monitor` shows of a shop day: how many events were sent and how many were not."""
    operations = Operations.from_settings(settings)
    with exclusive_lock(lineage_dir(settings) / ".note.lock"):
        found = operations.rows(monitor_states, monitor=MONITOR, object=OBJECT, partition=day)
        before = found[0]["detail"] if found else {}
        sent = before.get("sent", 0) + delivery.sent
        unsent = before.get("unsent", 0) + delivery.unsent
        problem = delivery.problem or before.get("why")
        operations.record_monitor_state(
            monitor=MONITOR,
            object=OBJECT,
            partition=day,
            state="warn" if unsent else "ok",
            value=float(unsent),
            detail={"sent": sent, "unsent": unsent, **({"why": problem} if problem else {})},
        )


def _append(settings: Settings, line: str) -> None:
    """Add a line to the file; many processes may at once. An old file is kept beside the new one, two at most."""
    path = events_path(settings)
    with exclusive_lock(path.parent / ".events.lock"):
        if path.exists() and path.stat().st_size > _MAX_FILE_BYTES:
            path.replace(path.with_suffix(".1.jsonl"))
        with path.open("ab") as file:
            # A process that was killed while it wrote left half a line; the next one begins its own.
            torn = file.tell() > 0 and _last_byte(path) != b"\n"
            file.write((b"\n" if torn else b"") + line.encode() + b"\n")


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: object, **_more: object) -> None:
        """An event goes to the address that somebody chose, and to no other."""


def _post(settings: Settings, line: str) -> None:
    request = urllib.request.Request(  # noqa: S310  # _address lets http and https through, nothing else
        _address(settings.lineage_url or ""),
        data=line.encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
        if response.status not in _ACCEPTED:
            raise ConnectionError(f"the address answered {response.status}")


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("SHOPWRIGHT_LINEAGE_URL is no http address")
    path = parts.path if parts.path.strip("/") else _DEFAULT_PATH
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def _explain(error: Exception) -> str:
    """Why, without the address: it may hold a token."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the address answered {error.code}"
    if isinstance(error, urllib.error.URLError):
        return f"the address cannot be reached ({type(error.reason).__name__})"
    if isinstance(error, ValueError) and "SHOPWRIGHT_LINEAGE_URL" in str(error):
        return str(error)
    return f"it failed ({type(error).__name__})"
