"""The ladder of recommendations: each step with its reason, consent before all, nothing answered that is not kept."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ml.outcomes import DataFailed
from ml.recommender.online import Filters, Offer, RecommenderEngine
from ml.serving import recommendation_service
from ml.serving.exposures import RecommendationRequest
from ml.serving.recommendation_service import RecommendationService
from ml.serving.recommender_parts import RecommenderParts
from ml.settings import Settings
from ml.stores.customer_rows import RowsAbsent, RowsUnavailable
from ml.stores.serving_log import Entry, LogUnavailable, Outcome, ProfilingConsent
from tests.recommender_snapshot import codes, snapshot

NOW = datetime(2024, 3, 10, 15, tzinfo=UTC)
TODAY = date(2024, 3, 10)


class Engine(RecommenderEngine):
    """Ranks a row by showing p6, p4 and what is popular: what a row holds is tested elsewhere."""

    def rank(self, customer_id: str, row: bytes, k: int, filters: Filters) -> Offer:
        if row == b"damaged":
            raise DataFailed("customer row: cut short")
        best = codes("p6", "p4")
        ranked = best[self._allowed(best, filters)].tolist()
        return self._offer(ranked, lambda shown: ["ranked"] * len(shown), k, filters, None)


class Rows:
    """The online store: rows by customer; can fail, be empty or hang."""

    def __init__(self) -> None:
        self.rows = {"ann": b"row"}
        self.error: Exception | None = None
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.asked: list[tuple[str | None, list[str]]] = []

    def read(self, customer_ids: Sequence[str], version: str | None = None) -> dict[str, bytes]:
        self.asked.append((version, list(customer_ids)))
        self.goes_on.wait(10)
        if self.error is not None:
            raise self.error
        return {one: self.rows[one] for one in customer_ids if one in self.rows}


def consent(*, objects: bool, hour: int = 1) -> ProfilingConsent:
    return ProfilingConsent(NOW + timedelta(hours=hour), objects)


class Log:
    """Consents as posted; takes what is appended."""

    def __init__(self) -> None:
        self.posted: dict[str, ProfilingConsent] = {}
        self.error: Exception | None = None
        self.taken: list[Entry] = []
        self.is_full = self.hangs = False

    def profiling_consent(self, customer_id: str) -> ProfilingConsent | None:
        if self.error is not None:
            raise self.error
        return self.posted.get(customer_id)

    async def append(self, entries: Sequence[Entry]) -> list[Outcome]:
        if self.is_full:
            raise LogUnavailable("the disk is full")
        if self.hangs:
            await asyncio.Event().wait()
        self.taken += entries
        return [Outcome("taken", number, entry.body) for number, entry in enumerate(entries, 1)]


class Shop:
    """A service with all that it asks."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        told: dict[str, Any] = {"static_products": ("s1", "s2"), "deadline_ms": 2000, "explored_share": 0.0} | settings
        self.settings = Settings(_env_file=None, state_dir=folder, timezone="UTC", last_day=None, **told)
        self.rows, self.log = Rows(), Log()
        self.parts: RecommenderParts | None = RecommenderParts(
            Engine(snapshot(), None), "m2", "m1", "marts/f", "rows-1", TODAY, NOW, {}
        )
        make: Callable[..., RecommendationService] = RecommendationService
        self.service = make(self.settings, self.log, self.log, lambda: self.parts, self.rows)

    def ask(self, customer: str = "ann", k: int = 3, **filters: Any) -> dict[str, Any]:
        return self.ask_all([RecommendationRequest(customer, "home", k, **filters)])[0]

    def ask_all(self, requests: Sequence[RecommendationRequest]) -> list[dict[str, Any]]:
        return asyncio.run(self.service.recommend(requests, "shop", time.perf_counter()))

    def change(self, **parts: Any) -> None:
        assert self.parts is not None
        self.parts = replace(self.parts, **parts)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.rows.goes_on.set()
    made.service.close()


def step(answer: dict[str, Any]) -> tuple[str, bool, str | None]:
    return answer["step"], answer["degraded"], answer["reason"]


def products(answer: dict[str, Any]) -> list[str]:
    return [item["product_id"] for item in answer["items"]]


def test_a_known_customers_row_is_ranked_now(shop: Shop) -> None:
    answer = shop.ask()
    assert step(answer) == ("personal", False, None)
    assert products(answer) == ["p6", "p4", "p7"]
    assert [item["rank"] for item in answer["items"]] == [1, 2, 3]
    assert (answer["model_version"], answer["feature_version"], answer["policy_version"]) == (
        "m2",
        "marts/f",
        "explore-0",
    )
    assert (answer["as_of_date"], answer["features_age_seconds"], answer["profiling"]) == ("2024-03-10", 54000.0, True)
    assert shop.rows.asked == [("rows-1", ["ann"])]


def test_every_answer_is_kept_with_propensities_before_it_is_given(shop: Shop) -> None:
    answer = shop.ask(k=2)
    (entry,) = shop.log.taken
    kept = json.loads(entry.body)
    assert (entry.kind, entry.key) == ("exposure", answer["exposure_id"])
    assert kept["items"] == [
        {"product_id": "p6", "rank": 1, "reason": "ranked", "propensity": 1.0},
        {"product_id": "p4", "rank": 2, "reason": "ranked", "propensity": 1.0},
    ]
    assert (kept["customer_id"], kept["placement"], kept["step"], kept["is_explored"]) == (
        "ann",
        "home",
        "personal",
        False,
    )


def test_what_the_log_cannot_take_is_shown_and_says_so(shop: Shop) -> None:
    shop.log.is_full = True
    answer = shop.ask()
    assert step(answer) == ("personal", True, "not_recorded")
    assert (products(answer), answer["exposure_id"]) == (["p6", "p4", "p7"], None)
    shop.parts = None
    answer = shop.ask()
    assert (step(answer), answer["exposure_id"]) == (("static", True, "nothing_loaded"), None)


def test_a_log_that_hangs_is_waited_for_until_the_deadline(tmp_path: Path) -> None:
    shop = Shop(tmp_path, deadline_ms=50)
    shop.log.hangs = True
    try:
        answer = shop.ask()
    finally:
        shop.service.close()
    assert (step(answer), answer["exposure_id"]) == (("personal", True, "not_recorded"), None)


@pytest.mark.parametrize(
    ("error", "reason"), [(RowsUnavailable("down"), "rows_unavailable"), (RowsAbsent("lost"), "rows_unavailable")]
)
def test_without_the_online_store_the_published_list_answers(shop: Shop, error: Exception, reason: str) -> None:
    shop.rows.error = error
    answer = shop.ask()
    assert step(answer) == ("batch", True, reason)
    assert products(answer) == ["p1", "p3", "p5"]
    assert answer["model_version"] == "m1"
    assert answer["items"][0]["reason"] == "You bought it before"


def test_a_frozen_store_costs_its_share_of_the_deadline_and_soon_nothing(tmp_path: Path) -> None:
    shop = Shop(tmp_path, deadline_ms=50)
    shop.rows.goes_on.clear()
    try:
        answers = [shop.ask() for _ in range(7)]
        assert [step(answer) for answer in answers] == [
            *[("batch", True, "rows_late")] * 5,
            *[("batch", True, "rows_breaker_open")] * 2,
        ]
        assert shop.service.condition()["breaker"] == "open"
    finally:
        shop.rows.goes_on.set()
        shop.service.close()


def test_a_customer_without_a_row_and_a_row_that_cannot_be_ranked_get_their_list(shop: Shop) -> None:
    shop.rows.rows = {}
    assert step(shop.ask()) == ("batch", True, "rows_missing")
    shop.rows.rows = {"ann": b"damaged"}
    assert step(shop.ask()) == ("batch", True, "not_ranked")


def test_an_unknown_customer_gets_what_is_popular_and_that_is_no_fault(shop: Shop) -> None:
    for customer in ("never seen", "cy"):
        answer = shop.ask(customer)
        assert step(answer) == ("popular", False, "cold_start")
        assert products(answer) == ["p7", "p6", "p5"]
    assert step(shop.ask("cy", store_id="s1")) == ("segment", False, "cold_start")
    assert shop.rows.asked == []


def test_who_objects_gets_what_is_popular_from_the_next_request_on(shop: Shop) -> None:
    assert shop.ask()["profiling"] is True
    shop.log.posted["ann"] = consent(objects=True)
    answer = shop.ask()
    assert step(answer) == ("popular", False, "objected")
    assert answer["profiling"] is False
    assert products(answer) == ["p7", "p6", "p5"]  # not the home store's either
    assert len(shop.rows.asked) == 1  # the row was not even read
    shop.log.posted["ann"] = consent(objects=False)
    assert step(shop.ask()) == ("personal", False, None)


def test_the_newer_of_a_landed_and_a_posted_consent_holds(shop: Shop) -> None:
    shop.change(consents={"ann": consent(objects=True, hour=2)})
    assert shop.ask()["profiling"] is False
    shop.log.posted["ann"] = consent(objects=False, hour=1)  # the shop heard of the objection after it
    assert shop.ask()["profiling"] is False
    shop.log.posted["ann"] = consent(objects=False, hour=2)  # at the same moment, the objection holds
    assert shop.ask()["profiling"] is False
    shop.log.posted["ann"] = consent(objects=False, hour=3)
    assert shop.ask()["profiling"] is True


def test_a_consent_that_cannot_be_read_is_taken_for_an_objection(shop: Shop) -> None:
    shop.log.error = LogUnavailable("locked")
    answer = shop.ask()
    assert step(answer) == ("popular", True, "consent_unknown")
    assert answer["profiling"] is False
    assert shop.rows.asked == []


def test_a_baselines_list_is_its_normal_answer(shop: Shop) -> None:
    shop.change(rows_version=None, model_version="m1")
    assert step(shop.ask()) == ("batch", False, None)
    shop.change(fault="changed_features")
    assert step(shop.ask()) == ("batch", True, "changed_features")


def test_a_list_that_cannot_be_told_gives_way_to_the_home_store(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.rows.error = RowsUnavailable("down")
    monkeypatch.delitem(shop.parts.engine.snapshot.customers, "ann")  # type: ignore[union-attr]
    monkeypatch.setattr(Engine, "knows", lambda _self, _customer: True)
    assert step(shop.ask()) == ("popular", True, "no_list")


def test_age_is_told_and_what_is_too_old_is_not_used(shop: Shop) -> None:
    shop.change(clock=NOW + timedelta(days=4))
    answer = shop.ask()
    assert step(answer) == ("personal", True, "stale")
    assert answer["features_age_seconds"] == 54000.0 + 4 * 86400
    shop.change(clock=NOW + timedelta(days=40))
    assert step(shop.ask()) == ("segment", True, "stale")


def test_before_anything_is_loaded_the_shops_own_list_answers(shop: Shop) -> None:
    shop.parts = None
    answer = shop.ask(exclude=("s1",))
    assert step(answer) == ("static", True, "nothing_loaded")
    assert products(answer) == ["s2"]
    assert (answer["as_of_date"], answer["features_age_seconds"], answer["model_version"]) == (None, None, None)
    assert products(shop.ask(category="food")) == []
    shop.log.posted["ann"] = consent(objects=True)
    assert shop.ask()["profiling"] is False


def test_when_nothing_passes_the_filters_nothing_else_is_passed_off(shop: Shop) -> None:
    answer = shop.ask(category="toys")
    assert (answer["items"], answer["step"], answer["degraded"]) == ([], "personal", False)


def test_several_requests_share_one_read_and_each_has_its_exposure(shop: Shop) -> None:
    requests = [RecommendationRequest(customer, "home", 2) for customer in ("ann", "cy", "ann")]
    answers = shop.ask_all(requests)
    assert [answer["step"] for answer in answers] == ["personal", "popular", "personal"]
    assert len({entry.key for entry in shop.log.taken}) == 3
    assert shop.rows.asked == [("rows-1", ["ann"])]


def test_once_only_the_time_to_record_is_left_lists_are_given(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommendation_service, "COMMIT_SHARE", 1.0)
    assert step(shop.ask()) == ("batch", True, "late")


def test_nothing_personal_is_logged_when_a_row_cannot_be_ranked(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.rows.rows = {"ann": b"damaged"}
    shop.ask()
    assert "DataFailed" in caplog.text
    assert "ann" not in caplog.text.replace("cannot", "")
