"""The API played by hand, for tests of the Python client: what it answers, and what it was asked."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx
from shopwright_client import Attempt, Shopwright

KEY = "the-key-of-the-test"
AT = datetime(2027, 1, 2, 12, 30, tzinfo=UTC)
ATTEMPT = Attempt(payment_id="p1", order_id="o1", attempted_at=AT, amount_cents=4990, currency="USD", customer_id="c1")
DECISION = {
    "decision_id": "decision-1",
    "order_id": "o1",
    "payment_id": "p1",
    "action": "review",
    "risk": "elevated",
    "source": "model",
    "step": "model",
    "degraded": False,
    "reasons": [{"code": "amount", "text": "An unusual amount", "value": 3}],
    "rules": ["velocity"],
    "score": 1,
    "hint": None,
    "expected_costs_cents": {"approve": 12},
    "model_version": "m1",
    "feature_version": "f1",
    "policy_version": "pol1",
    "features_age_seconds": 1.5,
    "decided_at": "2027-01-02T12:30:00+00:00",
    "data": None,
    "from_a_newer_version": True,
}
RECOMMENDATION = {
    "exposure_id": "exposure-1",
    "placement": "home",
    "step": "personal",
    "degraded": False,
    "profiling": True,
    "reason": None,
    "items": [{"product_id": "a", "rank": 1, "reason": "Bought again and again"}],
    "model_version": "m1",
    "feature_version": "f1",
    "policy_version": "explore-0.02",
    "as_of_date": "2027-01-02",
    "features_age_seconds": 3600,
    "k": 10,
}
TAKEN = {"taken": 1, "known": 0, "conflicts": []}


class Played:
    """Answers in turn, the last one for ever; keeps what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.asked = list(answers), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def body(self) -> Any:
        return json.loads(self.asked[-1].content)


def ok(content: Any) -> httpx.Response:
    return httpx.Response(200, json=content)


def refused(status: int, code: str, headers: dict[str, str] | None = None, **error: Any) -> httpx.Response:
    content = {"error": {"code": code, "message": "No.", "fields": [], "request_id": "r1", **error}}
    return httpx.Response(status, json=content, headers=headers)


def client(played: Played, deadline: float = 2.0) -> Shopwright:
    return Shopwright("http://shop.test", KEY, deadline, httpx.MockTransport(played))
