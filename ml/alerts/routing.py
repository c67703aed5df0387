"""Where alerts go: one route for each Apprise URL of the settings.

A route is spoken of by its name (position and scheme), never by its URL, which holds passwords and tokens.
"""

import re
from dataclasses import dataclass

from pydantic import SecretStr

from ml.settings import Settings

_SCHEME = re.compile(r"^\s*([a-z][a-z0-9]{1,15})://", re.IGNORECASE)


@dataclass(frozen=True)
class Route:
    """One place that alerts are sent to.

    Attributes:
        name: Position in the settings and scheme, such as `1-mailtos`; safe to print.
    """

    name: str
    url: SecretStr


def routes(settings: Settings) -> tuple[Route, ...]:
    """The configured routes, in the order of the settings; none means console and `shopwright alerts` only."""
    found = []
    for position, url in enumerate(settings.alert_urls, start=1):
        scheme = _SCHEME.match(url.get_secret_value())
        found.append(Route(f"{position}-{scheme.group(1).lower() if scheme else 'unreadable'}", url))
    return tuple(found)
