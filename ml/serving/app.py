"""The API of one shop: recommendations, decisions on payments, events, reviews.

`ml/serving/routes/` has the table of what is served; docs/openapi.json is made from it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from ml.serving.errors import answer_errors
from ml.serving.gate import Gate
from ml.serving.operations import OperationRoute
from ml.serving.request_log import RequestLog
from ml.serving.routes import OPERATIONS, RESERVED
from ml.serving.services import Services
from ml.settings import Settings

TITLE, VERSION = "Shopwright", "1"
_DESCRIPTION = "Recommendations and decisions on payments for one shop. See docs/api.md and docs/integrate.md."


def create_app(
    settings: Settings, *, request_log: RequestLog | None = None, services: Services | None = None
) -> FastAPI:
    """The API; its stores are opened here, its models are loaded when it starts.

    Args:
        request_log: Where each request is noted; nowhere when None.
        services: Instead of those that the settings make.

    Raises:
        SettingsError: Nobody has a key.
    """
    services = services or Services.from_settings(settings, request_log)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await services.start()
        yield
        services.stop()

    app = FastAPI(
        title=TITLE,
        version=VERSION,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    answer_errors(app)
    app.router.routes.extend(OperationRoute(operation, services, RESERVED) for operation in OPERATIONS)
    app.add_middleware(Gate, services=services)
    return app


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document of every shop's API; nothing is opened for it."""
    app = FastAPI(title=TITLE, version=VERSION, description=_DESCRIPTION)
    app.router.routes[:] = [OperationRoute(operation, None) for operation in OPERATIONS]  # type: ignore[arg-type]
    return app.openapi()
