"""What the process tells of itself: coarse words to everybody, figures without ids to those who may."""

from ml.outcomes import ToolFailed
from ml.serving.metrics import MULTIPROC_DIR
from tests.serving_stubs import signed
from tests.unit.serving.refusals import CANARY


def test_readiness_is_coarse(client, services, monkeypatch):
    told = client.get("/readyz")
    assert told.json() == {
        "status": "ready",
        "conditions": {
            "log": "ok",
            "fraud": "loaded",
            "recommender": "loaded",
            "fraud_store": "closed",
            "recommender_store": "closed",
        },
    }
    monkeypatch.setattr(services.fraud, "condition", lambda: {"breaker": "open"})
    assert client.get("/readyz").json()["status"] == "degraded"

    def fail() -> int:
        raise ToolFailed(CANARY)

    monkeypatch.setattr(services.log, "end", fail)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert CANARY not in answer.text
    assert client.get("/healthz").status_code == 200


def test_a_log_that_can_be_read_and_not_written_is_told(client, services, monkeypatch):
    """As with a full disk."""
    monkeypatch.setattr(services.committer, "is_failing", True)
    told = client.get("/readyz")
    assert (told.status_code, told.json()["status"]) == (200, "degraded")
    assert told.json()["conditions"]["log"] == "not_writable"


def test_figures_hold_templates_and_no_ids(client, monkeypatch, tmp_path):
    monkeypatch.setenv(MULTIPROC_DIR, str(tmp_path))  # set too late by a library, as Feast does
    client.get(f"/v1/recommendations/{CANARY}", headers=signed())
    client.get(f"/v1/{CANARY}")
    client.request(CANARY[:6].upper(), "/healthz")
    told = client.get("/metrics", headers=signed()).text
    assert 'route="/v1/recommendations/{customer_id}"' in told
    assert 'route="unmatched"' in told
    assert "anary" not in told.lower()
