"""One process that answers on the shared port; the supervisor (`shopwright serve`) starts it.

    python -m ml.serving.worker PORT HOST SECONDS

It ends when it is told to (SIGTERM) or when its standard input ends, which is when its supervisor is gone; requests
under way are answered first.
"""

import gc
import logging
import os
import sys
import threading

import uvicorn

from ml.outcomes import EXIT_OK, EXIT_TOOL_FAILED, EXIT_USAGE
from ml.serving.http_protocol import LimitedProtocol
from ml.serving.lean_imports import leave_out_sklearn
from ml.serving.request_log import RequestLog
from ml.serving.supervisor import shared_socket
from ml.settings import SettingsError, get_settings

GRACE_SECONDS = 5
_KEEP_ALIVE_SECONDS = 65
_BACKLOG = 1024
# The threads that read stores and write the log hand over to the event loop sooner than after Python's 5 ms.
_SWITCH_SECONDS = 0.0005
# Looks for garbage. Requests leave some in circles, and while one is freed nobody is answered: of 20,000 young objects
# a look takes 25 to 65 ms, of 2,000 less than a decision. All that is old is looked through as rarely as with 20,000.
_LOOK_AFTER = (2_000, 10, 100)


def serve(port: int, host: str, first_load_seconds: float) -> int:
    """Answer until told to end; the exit status.

    Args:
        first_load_seconds: How long it waits for its first models before it answers without.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    # uvicorn's own words repeat addresses and the text of errors.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL + 1)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    sys.setswitchinterval(_SWITCH_SECONDS)
    leave_out_sklearn()
    from ml.serving.app import create_app
    from ml.serving.memory import use_one_allocator

    use_one_allocator()
    try:
        app = create_app(get_settings(), request_log=RequestLog(), first_load_seconds=first_load_seconds)
    except SettingsError as error:
        sys.stderr.write(f"settings: {error}\n")
        return EXIT_USAGE
    config = uvicorn.Config(
        app,
        http=LimitedProtocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    _end_with_supervisor(server)
    # What is there by now stays: it is not looked through again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_LOOK_AFTER)
    listening = shared_socket(port, host)
    server.run(sockets=[listening])
    gc.unfreeze()
    return EXIT_OK if server.started else EXIT_TOOL_FAILED


def _end_with_supervisor(server: uvicorn.Server) -> None:
    if sys.stdin is None or sys.stdin.isatty():
        return

    def wait() -> None:
        while os.read(0, 1024):
            pass
        server.should_exit = True

    threading.Thread(target=wait, name="supervisor-watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
