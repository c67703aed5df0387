"""The API of one shop: recommendations, decisions on payments, events, reviews.

`ml/serving/routes/` has the table of what is served; docs/openapi.json is made from it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.routing import Router
from starlette.types import ASGIApp

from ml.serving.gate import Gate
from ml.serving.request_log import RequestLog
from ml.serving.services import Services
from ml.settings import Settings


def create_app(
    settings: Settings, *, request_log: RequestLog | None = None, services: Services | None = None
) -> ASGIApp:
    """The API; its stores are opened here, its models are loaded when it starts.

    Args:
        request_log: Where each request is noted; nowhere when None.
        services: Instead of those that the settings make.

    Raises:
        SettingsError: Nobody has a key.
    """
    opened = services or Services.from_settings(settings, request_log)

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        await opened.start()
        yield
        opened.stop()

    return Gate(opened, Router(lifespan=lifespan))
