"""Whether the process lives, whether it can answer, and its figures."""

import asyncio

from ml.outcomes import ToolFailed
from ml.serving.metrics import MEDIA_TYPE
from ml.serving.models.health import Health, Readiness
from ml.serving.operations import Call, Operation
from ml.serving.requests import Answer


async def _healthz(_call: Call) -> Answer:
    return Answer({"status": "ok"})


async def _readyz(call: Call) -> Answer:
    """Open to everybody, so it tells coarse words only: no version, no reason, no path."""
    services = call.services
    # Only the next request tells whether it can be written again, so requests go on being taken (status 200).
    conditions = {"log": "not_writable" if services.committer.is_failing else "ok"}
    try:
        await asyncio.to_thread(services.log.end)
    except ToolFailed:
        conditions["log"] = "unavailable"
    for name, loaded in services.loader.condition().items():
        conditions[name] = "loaded" if loaded["version"] else "not_loaded"
        if loaded["refused"]:
            conditions[name] = "newest_refused"
    for name, condition in (
        ("fraud", services.fraud.condition()),
        ("recommender", services.recommendations.condition()),
    ):
        conditions[f"{name}_store"] = str(condition.get("breaker") or condition.get("store") or "unknown")
    if conditions["log"] == "unavailable":
        return Answer({"status": "unavailable", "conditions": conditions}, status=503)
    is_whole = all(word in ("ok", "loaded", "closed") for word in conditions.values())
    return Answer({"status": "ready" if is_whole else "degraded", "conditions": conditions})


async def _metrics(call: Call) -> Answer:
    return Answer(call.services.metrics.exposition(), media_type=MEDIA_TYPE)


OPERATIONS = (
    Operation("healthz", "GET", "/healthz", None, "Whether the process answers", _healthz, Health, is_probe=True),
    Operation(
        "readyz",
        "GET",
        "/readyz",
        None,
        "Whether requests can be answered, and how",
        _readyz,
        Readiness,
        is_probe=True,
    ),
    Operation(
        "metrics",
        "GET",
        "/metrics",
        "metrics:read",
        "Figures for Prometheus",
        _metrics,
        None,
        is_probe=True,
        media_type=MEDIA_TYPE,
    ),
)
