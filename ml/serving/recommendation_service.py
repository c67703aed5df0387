"""Recommendations: the best step of a declared ladder that answers in time, recorded before it is answered, or said not
to be: a page is not left empty because a disk is full or slow.

personal (the customer's row, ranked now) -> batch (the last published list) -> segment (popular in the customer's
store) -> popular -> static (`SHOPWRIGHT_STATIC_PRODUCTS`). A customer who objects to profiling gets what is popular,
and so does one whose consent cannot be read.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ml.serving.exposures import Chosen, RecommendationRequest, exposure, unrecorded
from ml.serving.reader import NotRead, StoreReader
from ml.serving.recommendation_ladder import Known, choose, is_too_old
from ml.serving.recommender_parts import PRODUCT, RecommenderParts
from ml.serving.rows_keeper import RowsKeeper
from ml.settings import Settings, wall_clock
from ml.stores.customer_rows import CustomerRows, RowsAbsent
from ml.stores.group_commit import GroupCommitter
from ml.stores.serving_log import Entry, LogUnavailable, ProfilingConsent, ServingLog

SECONDS_PER_FURTHER_REQUEST = 0.005
"""What each further request of a batch adds to the deadline."""
CONSENT_SHARE, ROWS_SHARE = 0.4, 0.4
"""Of the time that is left, what a read may take."""
COMMIT_SHARE = 0.4
"""Of the deadline, what is kept for recording: once only this is left, nothing is ranked any more."""

_STORE = "customer_rows"
_SEPARATOR = "\0"


class RecommendationService:
    """Answers requests of one process. For one event loop.

    Args:
        parts: What is loaded now; None before the first load.
        rows: The online store; read by a thread of its own.
        metrics: `ml.serving.metrics.Metrics`; None counts nothing.
    """

    def __init__(
        self,
        settings: Settings,
        log: ServingLog,
        committer: GroupCommitter,
        parts: Callable[[], RecommenderParts | None],
        rows: CustomerRows,
        metrics: Any = None,
    ) -> None:
        self._settings, self._log, self._committer = settings, log, committer
        self._parts, self._rows, self._metrics = parts, rows, metrics
        self._policy_version = f"explore-{settings.explored_share:g}"
        self._keeper = RowsKeeper(settings)
        self._reader: StoreReader[bytes] = StoreReader(self._read_rows, "customer-rows")
        # Consent is asked for in a thread of its own: a frozen online store must not keep it from being read.
        self._consents: StoreReader[ProfilingConsent] = StoreReader(self._read_consents, "consents")
        self._newest_step: str | None = None

    async def recommend(
        self, requests: Sequence[RecommendationRequest], caller: str, received: float
    ) -> list[dict[str, Any]]:
        """One answer for each request, recorded as an exposure before this returns.

        Where the log cannot take them in time, the answers have no `exposure_id` and are `degraded`.

        Args:
            caller: Name of the API key.
            received: `time.perf_counter()` when the request's first byte was known; the deadline counts from it.
        """
        allowed = self._settings.deadline_ms / 1000 + SECONDS_PER_FURTHER_REQUEST * (len(requests) - 1)
        deadline = received + allowed
        known = await self._known(requests, deadline)
        shown_at = self._shown_at(known.parts)
        answered: list[tuple[dict[str, Any], Entry]] = []
        for number, request in enumerate(requests):
            if number:
                await asyncio.sleep(0)  # other requests go on in between
            chosen = choose(request, known, self._settings.static_products)
            answered.append(exposure(request, chosen, known.parts, self._policy_version, shown_at))
            self._tell(chosen)
        if await self._is_recorded([entry for _, entry in answered], deadline):
            return [answer for answer, _ in answered]
        if self._metrics is not None:
            self._metrics.unrecorded(len(answered))
        return [unrecorded(answer) for answer, _ in answered]

    def condition(self) -> dict[str, Any]:
        """Coarse condition for /readyz: `breaker`, `step` of the newest answer, `age_seconds`, `as_of_date`."""
        parts = self._parts()
        age = self._age(parts)
        return {
            "breaker": self._reader.breaker_state,
            "step": self._newest_step,
            "age_seconds": None if age is None else age.total_seconds(),
            "as_of_date": parts.as_of_date.isoformat() if parts is not None and parts.as_of_date else None,
        }

    def close(self) -> None:
        """End the threads of this service."""
        self._reader.close()
        self._consents.close()
        self._keeper.close()

    async def _known(self, requests: Sequence[RecommendationRequest], deadline: float) -> Known:
        parts = self._parts()
        customers = list(dict.fromkeys(request.customer_id for request in requests))
        objections = await self._objections(customers, parts, deadline)
        age = self._age(parts)
        ranks_until = deadline - self._settings.deadline_ms / 1000 * COMMIT_SHARE

        def known(rows: Mapping[str, bytes] | None, reason: str) -> Known:
            return Known(parts, objections, rows, reason, age, ranks_until)

        if parts is None or objections is None or parts.rows_version is None or is_too_old(age):
            return known(None, "")
        asked = [one for one in customers if parts.engine.knows(one) and not objections.get(one)]
        if not asked:
            return known(None, "")
        prefix = parts.rows_version + _SEPARATOR
        budget = (deadline - time.perf_counter()) * ROWS_SHARE
        try:
            found = await self._reader.read([prefix + one for one in asked], budget)
        except NotRead as error:
            return known(None, f"rows_{error.reason}")
        finally:
            if self._metrics is not None:
                self._metrics.breaker(_STORE, self._reader.breaker_state)
        return known({one: found[prefix + one] for one in asked if prefix + one in found}, "rows_missing")

    async def _objections(
        self, customers: Sequence[str], parts: RecommenderParts | None, deadline: float
    ) -> dict[str, bool] | None:
        """Who objects to profiling, by the newest of what was posted and what has landed; None: it cannot be read."""
        try:
            posted = await self._consents.read(customers, (deadline - time.perf_counter()) * CONSENT_SHARE)
        except NotRead:
            return None
        landed = parts.consents if parts is not None else {}
        said = {one: [found[one] for found in (posted, landed) if one in found] for one in customers}
        return {one: max(consents).objects if consents else False for one, consents in said.items()}

    async def _is_recorded(self, entries: Sequence[Entry], deadline: float) -> bool:
        left = deadline - time.perf_counter()
        try:
            async with asyncio.timeout(max(left, 0.0)):
                await self._committer.append(entries)
        except (TimeoutError, LogUnavailable):
            return False
        return True

    def _tell(self, chosen: Chosen) -> None:
        self._newest_step = chosen.step
        if self._metrics is not None:
            self._metrics.step(PRODUCT, chosen.step)
            self._metrics.feature_age(PRODUCT, chosen.age)

    def _age(self, parts: RecommenderParts | None) -> timedelta | None:
        """How old what is published is: since the start of the day that it was made for."""
        if parts is None or parts.as_of_date is None:
            return None
        now = parts.clock if parts.clock is not None else wall_clock()
        return max(now - self._settings.day_start(parts.as_of_date), timedelta())

    def _shown_at(self, parts: RecommenderParts | None) -> datetime:
        """Now; in a replayed shop its own clock, so that what is shown belongs to the day that comes next."""
        if self._settings.last_day is None:
            return wall_clock()
        return parts.clock if parts is not None and parts.clock is not None else self._settings.event_horizon()

    def _read_rows(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Rows by version and customer; in the moment of a switch requests of both versions wait together."""
        found: dict[str, bytes] = {}
        for version in dict.fromkeys(key.split(_SEPARATOR, 1)[0] for key in keys):
            prefix = version + _SEPARATOR
            asked = [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]
            try:
                rows = self._rows.read(asked, version)
            except RowsAbsent:
                self._keeper.lost()
                raise
            found |= {prefix + customer: row for customer, row in rows.items()}
        return found

    def _read_consents(self, customers: Sequence[str]) -> dict[str, ProfilingConsent]:
        posted = {one: self._log.profiling_consent(one) for one in customers}
        return {one: consent for one, consent in posted.items() if consent is not None}
