"""One message through one route, by Apprise, without a word of the URL in logs or errors."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ml.alerts.routing import Route

# Loggers below Apprise that write request paths, where webhooks carry their tokens.
_TALKATIVE = ("urllib3.connectionpool", "requests_oauthlib", "asyncio", "charset_normalizer")
_HTTP_STATUS = re.compile(r"\berror=(\d{3})\b")


@dataclass(frozen=True)
class Message:
    """What is sent. `tone` is one of Apprise's notification types: info, success, warning, failure."""

    title: str
    body: str
    tone: str


def send(route: Route, message: Message) -> str | None:
    """Send a message.

    Returns:
        None when the route took it, else why not, in words that are ours: nothing of the URL or the reply is in them.
    """
    import apprise

    with _discreet_logs() as heard:
        plugin = apprise.Apprise.instantiate(route.url.get_secret_value())
        if plugin is None:
            return "the URL is not one that Apprise understands"
        sender = apprise.Apprise()
        sender.add(plugin)
        taken = sender.notify(
            title=message.title,
            body=message.body,
            notify_type=apprise.NotifyType(message.tone),
            body_format=apprise.NotifyFormat.TEXT,
        )
    return None if taken else _reason(heard)


def _reason(heard: list[str]) -> str:
    """Chosen from a fixed list, so that no secret can pass."""
    for text in heard:
        status = _HTTP_STATUS.search(text)
        if status:
            return f"the receiver answered HTTP {status.group(1)}"
    if any("connection error" in text.lower() for text in heard):
        return "the receiver could not be reached, or ended the conversation"
    return "the receiver did not take the message"


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


@contextmanager
def _discreet_logs() -> Iterator[list[str]]:
    """Listen to Apprise's own log and keep it, and its transport's, from every other handler."""
    listener = _Listener()
    apprise_log = logging.getLogger("apprise")
    kept = (apprise_log.handlers, apprise_log.propagate, apprise_log.level)
    muted = [logger for name in _TALKATIVE if not (logger := logging.getLogger(name)).disabled]
    apprise_log.handlers, apprise_log.propagate = [listener], False
    apprise_log.setLevel(logging.WARNING)
    for logger in muted:
        logger.disabled = True
    try:
        yield listener.heard
    finally:
        apprise_log.handlers, apprise_log.propagate = kept[0], kept[1]
        apprise_log.setLevel(kept[2])
        for logger in muted:
            logger.disabled = False
