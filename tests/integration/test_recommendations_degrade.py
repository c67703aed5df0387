"""Recommendations when the online store freezes or loses its rows, and consent across processes."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from ml.recommender.online import RecommenderEngine
from ml.serving.exposures import RecommendationRequest
from ml.serving.recommendation_service import RecommendationService
from ml.serving.recommender_parts import RecommenderParts
from ml.serving.rows_keeper import RowsKeeper
from ml.settings import PROJECT_DIR, Settings
from ml.stores.customer_rows import RowsVersion, open_customer_rows
from ml.stores.group_commit import GroupCommitter
from ml.stores.serving_log import ServingLog
from tests.posted_events import of_shop
from tests.private_redis import PrivateRedis
from tests.published_rows import lose_rows, publish_rows
from tests.recommender_snapshot import snapshot


class _Engine(RecommenderEngine):
    def rank(self, *_arguments: object) -> object:  # type: ignore[override]
        return self.popular(2, _arguments[3])  # type: ignore[arg-type]


def _service(settings: Settings, version: RowsVersion) -> tuple[RecommendationService, ServingLog, GroupCommitter]:
    parts = RecommenderParts(
        _Engine(snapshot(), None),
        "m",
        "m",
        "f",
        version.id,
        date(2024, 3, 10),
        settings.day_start(date(2024, 3, 10)),
        {},
    )
    log = ServingLog.from_settings(settings)
    committer = GroupCommitter(log)
    return RecommendationService(settings, log, committer, lambda: parts, open_customer_rows(settings)), log, committer


async def _ask(service: RecommendationService) -> dict[str, object]:
    (answer,) = await service.recommend([RecommendationRequest("ann", "home", 2)], "shop", time.perf_counter())
    return answer


# Another process that takes in a consent.
_POST = """
import sys
from datetime import datetime
from pathlib import Path
from ml.stores.serving_log import Entry, ServingLog
entry = Entry("consent", "k1", sys.argv[2], "d", datetime.fromisoformat(sys.argv[3]))
assert ServingLog(Path(sys.argv[1])).append([entry])[0].status == "taken"
"""


def _own(settings: Settings) -> Settings:
    return settings.model_copy(update={"deadline_ms": 2000, "explored_share": 0.0})


def test_a_flushed_store_degrades_answers_and_is_filled_again_by_itself(settings: Settings) -> None:
    version = publish_rows(settings, "2024-03-10", b"row")
    service, _, committer = _service(_own(settings), version)

    async def run() -> list[tuple[object, object]]:
        seen = [await _ask(service)]
        if settings.state_url is not None:
            lose_rows(settings)
            seen.append(await _ask(service))
            ends_at = time.monotonic() + 30
            while seen[-1]["step"] != "personal" and time.monotonic() < ends_at:
                await asyncio.sleep(0.05)
                seen.append(await _ask(service))
        return [(answer["step"], answer["degraded"]) for answer in seen]

    try:
        steps = asyncio.run(run())
    finally:
        service.close()
        committer.close()
    assert steps[0] == steps[-1] == ("personal", False)
    assert set(steps[1:-1]) <= {("batch", True)}
    if settings.state_url is not None:
        assert ("batch", True) in steps


def test_without_the_keeper_a_flushed_store_stays_empty(
    redis: PrivateRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positive control of the test above."""
    redis.client().flushall()
    settings = of_shop(tmp_path, redis.url)
    version = publish_rows(settings, "2024-03-10", b"row")
    monkeypatch.setattr(RowsKeeper, "lost", lambda _self: None)
    service, _, committer = _service(_own(settings), version)
    lose_rows(settings)

    async def run() -> list[object]:
        seen = []
        for _ in range(8):
            seen.append((await _ask(service))["step"])
            await asyncio.sleep(0.1)
        return seen

    try:
        assert set(asyncio.run(run())) == {"batch"}
    finally:
        service.close()
        committer.close()


def test_a_frozen_redis_holds_up_no_answer_beyond_its_share(redis: PrivateRedis, tmp_path: Path) -> None:
    redis.client().flushall()
    settings = of_shop(tmp_path, redis.url)
    version = publish_rows(settings, "2024-03-10", b"row")
    service, _, committer = _service(_own(settings), version)
    redis.freeze()
    try:
        answer = asyncio.run(_ask(service))
    finally:
        redis.thaw()
        service.close()
        committer.close()
    assert (answer["step"], answer["degraded"]) == ("batch", True)
    assert answer["reason"] in ("rows_late", "rows_unavailable")


def test_an_acknowledged_objection_of_another_process_holds_from_the_next_request(settings: Settings) -> None:
    version = publish_rows(settings, "2024-03-10", b"row")
    service, log, committer = _service(_own(settings), version)
    at = settings.day_start(date(2024, 3, 10))
    consent = {"customer_id": "ann", "purpose": "profiling", "is_granted": False, "changed_at": at.isoformat()}

    async def run() -> list[dict[str, object]]:
        before = await _ask(service)
        path = str(settings.shop_dir / "serving" / "log.db")
        arguments = [sys.executable, "-c", _POST, path, json.dumps(consent), at.isoformat()]
        await asyncio.to_thread(subprocess.run, arguments, check=True, cwd=PROJECT_DIR)
        return [before, await _ask(service)]

    try:
        before, after = asyncio.run(run())
    finally:
        service.close()
        committer.close()
    assert (before["step"], before["profiling"]) == ("personal", True)
    assert (after["step"], after["profiling"], after["reason"]) == ("popular", False, "objected")
    kept = [json.loads(entry.body) for entry in log.read_after(0, 100, ["exposure"])]
    assert [one["exposure_id"] for one in kept] == [before["exposure_id"], after["exposure_id"]]


def test_while_another_process_holds_the_log_products_are_shown_and_said_not_to_be_recorded(tmp_path: Path) -> None:
    settings = of_shop(tmp_path)
    version = publish_rows(settings, "2024-03-10", b"row")
    service, log, committer = _service(_own(settings), version)

    async def run() -> tuple[dict[str, object], dict[str, object]]:
        await _ask(service)
        holder = sqlite3.connect(settings.shop_dir / "serving" / "log.db", isolation_level=None)
        with closing(holder):
            holder.execute("begin immediate")
            held = await _ask(service)
            holder.execute("rollback")
        return held, await _ask(service)

    try:
        held, after = asyncio.run(run())
    finally:
        service.close()
        committer.close()
    told = [(one["step"], one["degraded"], one["reason"]) for one in (held, after)]
    assert told == [("personal", True, "not_recorded"), ("personal", False, None)]
    assert held["exposure_id"] is None
    assert held["items"]
    assert log.find("exposure", str(after["exposure_id"])) is not None
