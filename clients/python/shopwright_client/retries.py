"""When a call is tried again: only what may succeed, only inside the deadline, and not all callers at once."""

import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from shopwright_client.errors import RateLimited, ShopwrightError, Unavailable, UnexpectedAnswer, refusal_of

FIRST_WAIT = 0.02
LONGEST_WAIT = 1.0
IN_PROGRESS = "in_progress"
# 502 and 504 come of a proxy before the API, while that starts again.
_AWAY = (502, 503, 504)
# The connection failed: nothing was sent, or it broke before the answer. A read that merely takes too long is not here:
# it used up the deadline.
_BROKEN = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)


@dataclass(frozen=True)
class Again:
    """The call is to be tried again after so many seconds."""

    seconds: float


class Remaining(dict[str, float]):
    """httpx's timeouts, each of which is what is left of the deadline when it is looked up.

    With fixed ones, connecting, writing and reading could each take the whole of it.
    """

    def __init__(self, ends_at: float) -> None:
        super().__init__()
        self._ends_at = ends_at

    def seconds(self) -> float:
        return max(self._ends_at - time.monotonic(), 0.001)

    def get(self, _name: str, _default: Any = None) -> float:  # every phase has one
        return self.seconds()

    def hold(self) -> None:
        """Ask between two pieces of an answer, each of which came in time.

        Raises:
            httpx.ReadTimeout: Nothing is left.
        """
        if time.monotonic() >= self._ends_at:
            raise httpx.ReadTimeout("the answer did not end in time")


class Tries:
    """The tries of one call.

    "Full jitter": the wait before the n-th retry is drawn evenly between 0 and FIRST_WAIT * 2^n (Brooker, "Exponential
    Backoff And Jitter", 2015), and added to what the API asks to wait.
    """

    def __init__(self, deadline: float) -> None:
        """
        Args:
            deadline: Seconds from now within which the call ends.
        """
        self._ends_at = time.monotonic() + deadline
        self.count = 0

    def begin(self) -> Remaining:
        """Count a try.

        Returns:
            What it may take.
        """
        self.count += 1
        return Remaining(self._ends_at)

    def after_failure(self, error: Exception) -> Again:
        """What to do about a try that brought no answer.

        Raises:
            Unavailable: It is not tried again.
        """
        name = type(error).__name__
        if not isinstance(error, _BROKEN):
            raise Unavailable(self.count, name) from None
        return self._again(0.0, Unavailable(self.count, name))

    def after_refusal(self, status: int, headers: Mapping[str, str], content: Any) -> Again:
        """What to do about an answer of status 4xx or 5xx.

        Raises:
            Refused: It is not tried again, or the API asks to wait for longer than there is time.
        """
        refusal = refusal_of(status, content)
        asked = _retry_after(headers)
        if isinstance(refusal, RateLimited):
            refusal.retry_after = asked
        if status in _AWAY:
            return self._again(asked, Unavailable(self.count, refusal.code))
        if status == 429 or (status == 409 and refusal.code == IN_PROGRESS):
            return self._again(asked, refusal)
        raise refusal

    def _again(self, at_least: float, otherwise: ShopwrightError) -> Again:
        jitter = random.uniform(0.0, min(LONGEST_WAIT, FIRST_WAIT * 2.0**self.count))  # noqa: S311 - no secret
        wait = at_least + jitter
        if time.monotonic() + wait >= self._ends_at:
            raise otherwise from None
        return Again(wait)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds; 0 when it is not told, or told as a date."""
    text = headers.get("retry-after", "")
    return float(text) if text.isdigit() and len(text) < 7 else 0.0


def content_of(response: httpx.Response, body: bytes) -> Any:
    """The JSON of an answer; None of an error that has none.

    Raises:
        UnexpectedAnswer: A successful answer is no JSON.
    """
    try:
        return json.loads(body)
    except ValueError:
        if response.is_success:
            raise UnexpectedAnswer("the answer is no JSON") from None
        return None
