"""The API's app around services that answer at once: everything of the API is real but what decides and recommends."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ml.fraud.events import Attempt
from ml.serving.access import Access
from ml.serving.admission import Admission
from ml.serving.decision_results import DecisionResult
from ml.serving.event_service import EventService
from ml.serving.exposures import RecommendationRequest
from ml.serving.keys import key_digest
from ml.serving.limits import Limits
from ml.serving.metrics import Metrics
from ml.serving.request_log import RequestLog
from ml.serving.services import Services
from ml.settings import SCOPES, Settings
from ml.stores.group_commit import GroupCommitter
from ml.stores.operations import Operations
from ml.stores.serving_log import ServingLog

KEYS = {"all": "key-of-all", "public": "key-of-public", "none": "key-of-metrics"}
"""Name -> key: every scope; decisions:write alone; metrics:read alone."""
ATTEMPT = {
    "payment_id": "p1",
    "order_id": "o1",
    "attempted_at": "2017-11-20T10:00:00Z",
    "amount_cents": 5000,
    "currency": "USD",
}
VIEW = {
    "type": "view",
    "interaction_id": "i1",
    "customer_id": "c1",
    "product_id": "product1",
    "occurred_at": "2017-11-20T10:00:00Z",
}


EXPLAINED: dict[str, Any] = {
    "would_decline": False,
    "propensity": 1.0,
    "expected_saving_cents": 0.0,
    "rule_trace": [],
    "contributions": {},
    "fault": "",
}


def grants() -> str:
    """`SHOPWRIGHT_API_KEYS` of the keys."""
    scopes = {"all": " ".join(SCOPES), "public": "decisions:write", "none": "metrics:read"}
    return json.dumps({name: f"{key_digest(KEYS[name])} {scopes[name]}" for name in KEYS})


def signed(name: str = "all") -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[name]}"}


def decision_answer(attempt: Attempt) -> dict[str, Any]:
    return {
        "decision_id": f"decision-{attempt.event.payment_id}",
        "order_id": attempt.event.order_id,
        "payment_id": attempt.event.payment_id,
        "action": "approve",
        "risk": "low",
        "source": "model",
        "step": "model",
        "degraded": False,
        "reasons": [{"code": "velocity_device", "text": "4 orders", "contribution": 0.5, "value": 4, "usual": 1}],
        "rules": [],
        "score": 0.0123,
        "hint": None,
        "expected_costs_cents": {"approve": 12.5},
        "model_version": "fraud-1",
        "feature_version": "features-1",
        "policy_version": "default-1",
        "features_age_seconds": 1.5,
        "decided_at": "2017-11-20T10:00:00+00:00",
        "data": None,
    }


class StubFraud:
    """Approves everything, each payment once.

    Attributes:
        raises: Raised instead, when set.
    """

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, dict[str, Any]]] = {}
        self.raises: Exception | None = None
        self.calls = 0

    async def decide(
        self,
        attempts: Sequence[Attempt],
        digests: Sequence[str],
        caller: str,
        idempotency_key: str | None,
        request_digest: str,
        received: float,
    ) -> list[DecisionResult]:
        self.calls += 1
        if self.raises is not None:
            raise self.raises
        results = []
        for attempt, digest in zip(attempts, digests, strict=True):
            answer = decision_answer(attempt)
            known = self.kept.setdefault(attempt.event.payment_id, (digest, answer))
            status = "decided" if known[1] is answer else "known" if known[0] == digest else "conflict"
            told = None if status == "conflict" else known[1]
            results.append(DecisionResult(status, answer["decision_id"], told))  # type: ignore[arg-type]
        return results

    async def find(self, decision_id: str, replay: bool) -> dict[str, Any] | None:
        found: Mapping[str, Any] | None = next(
            (answer for _, answer in self.kept.values() if answer["decision_id"] == decision_id), None
        )
        if found is None:
            return None
        shown = {**found, "explained": EXPLAINED, "rescored": None}
        return {**shown, "replay": {"reproduced": True, "differences": [], "problem": None}} if replay else shown

    def condition(self) -> dict[str, Any]:
        return {"breaker": "closed"}

    def close(self) -> None:
        return


class StubRecommendations:
    """Recommends nothing to everybody, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[RecommendationRequest] = []
        self.raises: Exception | None = None

    async def recommend(
        self, requests: Sequence[RecommendationRequest], caller: str, received: float
    ) -> list[dict[str, Any]]:
        if self.raises is not None:
            raise self.raises
        self.asked += requests
        return [
            {
                "exposure_id": f"exposure-{len(self.asked)}",
                "placement": request.placement,
                "step": "popular",
                "degraded": False,
                "profiling": True,
                "reason": "cold_start",
                "items": [],
                "model_version": None,
                "feature_version": None,
                "policy_version": "explore-0.02",
                "as_of_date": None,
                "features_age_seconds": None,
                "k": request.k,
            }
            for request in requests
        ]

    def condition(self) -> dict[str, Any]:
        return {"breaker": "closed"}

    def close(self) -> None:
        return


class StubLoader:
    """Has loaded everything."""

    def load_now(self) -> None:
        return

    def start(self) -> None:
        return

    def stop(self) -> None:
        return

    def condition(self) -> dict[str, Any]:
        return {name: {"version": "1", "refused": None, "is_older": False} for name in ("fraud", "recommender")}


def stub_services(settings: Settings, request_log: RequestLog | None = None) -> Services:
    """Services with a real log, real keys and limits."""
    log = ServingLog.from_settings(settings)
    metrics = Metrics()
    committer = GroupCommitter(log, metrics.commit)
    limits = Limits(settings.key_requests_per_second, settings.customer_requests_per_minute, settings.serving_workers)
    return Services(
        settings=settings,
        access=Access(settings),
        limits=limits,
        metrics=metrics,
        request_log=request_log,
        operations=Operations.from_settings(settings),
        log=log,
        committer=committer,
        loader=StubLoader(),  # type: ignore[arg-type]
        fraud=StubFraud(),  # type: ignore[arg-type]
        recommendations=StubRecommendations(),  # type: ignore[arg-type]
        events=EventService(settings, log, committer, metrics),
        admission=Admission(settings.deadline_ms / 1000),
    )
