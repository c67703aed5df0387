"""What one process of the API holds: the log, the loader, the services, limits and figures; made once, ended once."""

import asyncio
import contextlib
from dataclasses import dataclass, field

from ml.serving.access import Access
from ml.serving.admission import Admission
from ml.serving.event_service import EventService
from ml.serving.fraud_service import FraudService
from ml.serving.limits import Limits
from ml.serving.loader import Loader
from ml.serving.metrics import Metrics
from ml.serving.recommendation_service import RecommendationService
from ml.serving.request_log import RequestLog
from ml.serving.slots import serving_loader
from ml.settings import Settings
from ml.stores.customer_rows import open_customer_rows
from ml.stores.group_commit import GroupCommitter
from ml.stores.operations import Operations
from ml.stores.serving_log import ServingLog

FIRST_LOAD_SECONDS = 2.0
"""A process that starts waits so long for its first models; then it answers by the ladder until they are there."""


@dataclass
class Services:
    """Of one shop, in one process.

    Attributes:
        under_way: Idempotency keys of requests that are being answered here.
        admission: How many requests are answered at the same time.
        request_log: None: no line is written for a request.
    """

    settings: Settings
    access: Access
    limits: Limits
    metrics: Metrics
    request_log: RequestLog | None
    operations: Operations
    log: ServingLog
    committer: GroupCommitter
    loader: Loader
    fraud: FraudService
    recommendations: RecommendationService
    events: EventService
    admission: Admission
    under_way: set[str] = field(default_factory=set)
    _loading: "asyncio.Task[None] | None" = None

    @classmethod
    def from_settings(cls, settings: Settings, request_log: RequestLog | None = None) -> "Services":
        """Open the stores and make the services; nothing is loaded yet.

        Raises:
            SettingsError: Nobody has a key.
        """
        access, metrics = Access(settings), Metrics()
        operations, log = Operations.from_settings(settings), ServingLog.from_settings(settings)
        committer = GroupCommitter(log, metrics.commit)
        fraud, recommender, loader = serving_loader(settings, operations)
        per_second, per_minute = settings.key_requests_per_second, settings.customer_requests_per_minute
        return cls(
            settings,
            access,
            Limits(per_second, per_minute, settings.serving_workers),
            metrics,
            request_log,
            operations,
            log,
            committer,
            loader,
            FraudService(settings, operations, log, committer, lambda: fraud.current, metrics),
            RecommendationService(
                settings, log, committer, lambda: recommender.current, open_customer_rows(settings), metrics
            ),
            EventService(settings, log, committer, metrics),
            Admission(settings.deadline_ms / 1000),
        )

    async def start(self, first_load_seconds: float = FIRST_LOAD_SECONDS) -> None:
        """Load what is served, in a thread; after a while answers are given without what is not loaded yet."""
        self._loading = asyncio.create_task(self._load())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._loading), first_load_seconds)

    async def _load(self) -> None:
        await asyncio.to_thread(self.loader.load_now)
        self.loader.start()

    def stop(self) -> None:
        """End the threads; what was acknowledged is on disk already."""
        if self._loading is not None:
            self._loading.cancel()
        self.loader.stop()
        self.fraud.close()
        self.recommendations.close()
        self.committer.close()
        if self.request_log is not None:
            self.request_log.close()
