"""The API as it answers on a port, in a thread of the test."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from ml.serving.http_protocol import LimitedProtocol
from ml.serving.supervisor import shared_socket


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Its address, while it answers."""
    config = uvicorn.Config(
        app, http=LimitedProtocol, loop="uvloop", ws="none", log_config=None, access_log=False, server_header=False
    )
    server, listening = uvicorn.Server(config), shared_socket(0)
    port = listening.getsockname()[1]
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
