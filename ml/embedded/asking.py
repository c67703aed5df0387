"""At the end of a lifecycle, the API is asked as a shop would ask: one decision, one list of recommendations.

The payment asked about is the newest that the shop knows, with its outcome, so that nothing made up enters its books.
"""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ml.embedded.landmarks import PRODUCT
from ml.embedded.layout import Layout
from ml.outcomes import ToolFailed
from ml.settings import Settings
from ml.stores.registry import champion
from ml.stores.versions import VersionStore
from ml.stores.warehouse import open_marts

_SECONDS = 10.0
# The follower and the loader take up what was published last; a busy machine needs a while for it.
_PATIENCE_SECONDS = 90.0
_POLL_SECONDS = 1.0
_NEWEST_PAYMENT = """
    select order_id as payment_id, order_id, customer_id, attempted_at, instrument_hash, device_hash, ip_hash,
        ip_country, shipping_address_hash, billing_address_hash, email_domain, account_created_at, channel,
        terminal_id, amount_cents, currency, first_outcome as outcome
    from fct_order_payments where amount_cents > 0 order by attempted_at desc, order_id limit 1
"""


@dataclass(frozen=True)
class Asked:
    """An answer of the API.

    Attributes:
        milliseconds: Until it was there, by a client that opens a connection of its own.
    """

    what: str
    milliseconds: float
    answer: Mapping[str, Any]


class Api:
    """A client of the API that `up` started, with its key."""

    def __init__(self, url: str, layout: Layout) -> None:
        self._url, self._layout = url, layout

    def ask(self, path: str, body: object = None) -> Mapping[str, Any]:
        """
        Raises:
            ToolFailed: There is no answer, or a refusal; its code is told.
        """
        headers = {"Authorization": f"Bearer {self._layout.api_key.read_text().strip()}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._url}{path}", content, headers)  # noqa: S310 - our own address
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as response:  # noqa: S310 - our own address
                told: Mapping[str, Any] = json.loads(response.read())
                return told
        except urllib.error.HTTPError as error:
            route = "/".join(path.split("?")[0].split("/")[:3])  # what follows names a person
            raise ToolFailed(f"the API answered {error.code} to {route}") from None
        except (OSError, ValueError) as error:
            raise ToolFailed(f"the API does not answer ({type(error).__name__})") from None


def ask_api(settings: Settings, api: Api) -> Iterator[Asked]:
    """Ask for a decision where the shop knows payments, and for recommendations where any are published.

    What the API has just been given, such as the lists of the last day, it may take some seconds to load: until then
    the recommendations are asked for again. A payment is decided once, so it is asked about last.

    Raises:
        ToolFailed: The API does not answer, or refuses.
    """
    customer_id = _customer(settings)
    if customer_id is not None:
        yield _await_settled(settings, api, customer_id)
    payment = _newest_payment(settings)
    if payment is not None:
        _await_ready(api)
        yield _timed(api, "decision", "/v1/fraud/decisions", payment)


def _await_settled(settings: Settings, api: Api, customer_id: str) -> Asked:
    current, deadline = champion(settings, PRODUCT), time.monotonic() + _PATIENCE_SECONDS
    path = f"/v1/recommendations/{urllib.parse.quote(customer_id, safe='')}?placement=demo&k=5"
    while True:
        asked = _timed(api, "recommendations", path)
        is_newest = current is None or asked.answer["model_version"] == current.version
        if (not asked.answer["degraded"] and is_newest) or time.monotonic() >= deadline:
            return asked
        time.sleep(_POLL_SECONDS)


def _await_ready(api: Api) -> None:
    """Until nothing is missing, as far as the API knows; what is missing after that shows in the answer's step."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if api.ask("/readyz")["status"] == "ready":
                return
        except ToolFailed:  # 503 while it is not
            pass
        time.sleep(_POLL_SECONDS)


def _timed(api: Api, what: str, path: str, body: object = None) -> Asked:
    """Ask until there is an answer: a busy disk is a 503, and asking again about the same is safe."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        begun = time.perf_counter()
        try:
            answer = api.ask(path, body)
            return Asked(what, (time.perf_counter() - begun) * 1000, answer)
        except ToolFailed:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_POLL_SECONDS)


def _customer(settings: Settings) -> str | None:
    store = VersionStore(settings.shop_dir / "recommendations")
    version = store.current()
    if version is None:
        return None
    found = store.read(version, "recommendations", ["customer_id"])["customer_id"]
    return str(found[0].as_py()) if len(found) else None


def _newest_payment(settings: Settings) -> dict[str, Any] | None:
    rows = open_marts(settings).connect().execute(_NEWEST_PAYMENT)
    names = [column[0] for column in rows.description]
    found = rows.fetchone()
    if found is None:
        return None
    values = {name: value for name, value in zip(names, found, strict=True) if value is not None}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
