"""The API of one shop: recommendations, decisions on payments, events, reviews.

`ml/serving/routes/` has the table of what is served; docs/openapi.json is made from it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.routing import Router
from starlette.types import ASGIApp

from ml.serving.gate import Gate
from ml.serving.request_log import RequestLog
from ml.serving.services import FIRST_LOAD_SECONDS, Services
from ml.settings import Settings


def create_app(
    settings: Settings,
    *,
    request_log: RequestLog | None = None,
    services: Services | None = None,
    first_load_seconds: float = FIRST_LOAD_SECONDS,
) -> ASGIApp:
    """The API; its stores are opened here, its models are loaded when it starts.

    Args:
        request_log: Where each request is noted; nowhere when None.
        services: Instead of those that the settings make.
        first_load_seconds: How long it waits for its first models before it answers without.

    Raises:
        SettingsError: Nobody has a key.
    """
    opened = services or Services.from_settings(settings, request_log)

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        await opened.start(first_load_seconds)
        yield
        opened.stop()

    return Gate(opened, Router(lifespan=lifespan))
