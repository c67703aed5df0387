"""Starting the one-machine profile: database, scheduler, DAG processor, API server, MLflow, watch; and the API."""

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ml.embedded.airflow_api import AirflowApi
from ml.embedded.airflow_home import child_environment, write_configuration
from ml.embedded.layout import LOOPBACK, Layout, Ports, choose_ports
from ml.embedded.processes import ProcessGroups, end_leftovers
from ml.outcomes import ToolFailed
from ml.settings import Settings

DAG_IDS = frozenset(
    {
        "shop_ingest",
        "warehouse_build",
        "features_materialize",
        "recommender_publish",
        "recommender_train",
        "monitoring_check",
        "fraud_train",
        "fraud_score_backfill",
        "fraud_labels_ingest",
        "gates_selftest",
    }
)

ONE_SLOT_POOLS = ("warehouse", "feature_store")
"""Pools that the DAGs name: each guards a file with one writer."""

_READY_SECONDS = 240.0
_API_SECONDS = 90.0
_POLL_SECONDS = 1.0
_ASK_SECONDS = 5.0


@dataclass(frozen=True)
class Stack:
    """The running profile."""

    settings: Settings
    layout: Layout
    ports: Ports
    processes: ProcessGroups
    airflow: AirflowApi


@contextmanager
def running_stack(settings: Settings, say: Callable[[str], None]) -> Iterator[Stack]:
    """Start everything, wait until it is ready, and end every process at the end.

    Args:
        say: Receives one line of progress at a time.

    Raises:
        SettingsError: A port is in use.
        ToolFailed: Something did not start.
    """
    layout = Layout(settings.shop_dir)
    for name in end_leftovers(layout.processes):
        say(f"ended {name}, left running by an earlier start")
    ports = choose_ports(settings, layout)
    write_configuration(layout, ports)
    processes = ProcessGroups(layout.processes, child_environment(settings, layout, ports), layout.logs)
    stack = Stack(settings, layout, ports, processes, AirflowApi(ports.airflow_url, layout.passwords))
    try:
        layout.go_ahead.unlink(missing_ok=True)
        processes.start("scheduler", [sys.executable, "-m", "ml.embedded.warm_scheduler", str(layout.go_ahead)])
        processes.run("airflow-migrate", _airflow("db", "migrate"))
        layout.go_ahead.touch()
        processes.start("api-server", _airflow("api-server"))
        processes.start("mlflow", mlflow_arguments(layout, ports))
        processes.start("dag-processor", _airflow("dag-processor"))
        # Both are there from the first minute: without a model and lists, the API answers by its ladder.
        processes.start("serving", shopwright_arguments("serve"))
        processes.start("follow", shopwright_arguments("fraud", "follow"))
        _await_ready(stack)
        _await_api(stack)
        for pool in ONE_SLOT_POOLS:
            stack.airflow.make_pool(pool, slots=1)
        processes.start("watch", shopwright_arguments("watch"), shows_output=True, outlives_us=True)
        processes.start("freshness", shopwright_arguments("freshness", "--watch"), shows_output=True)
        yield stack
    finally:
        processes.stop()


def _airflow(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "airflow", *arguments]


def shopwright_arguments(*arguments: str) -> list[str]:
    """A `shopwright` command run by this interpreter, wherever its script lies."""
    return [sys.executable, "-c", "from ml.cli import main; main()", *arguments]


def mlflow_arguments(layout: Layout, ports: Ports) -> list[str]:
    """MLflow on loopback, with its own SQLite file that nobody else opens."""
    layout.mlflow.mkdir(parents=True, exist_ok=True)
    return [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--host", LOOPBACK, "--port", str(ports.mlflow), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{layout.mlflow / 'mlflow.db'}"),
        *("--artifacts-destination", str(layout.mlflow / "artifacts")),
        *("--allowed-hosts", f"{LOOPBACK}:{ports.mlflow},localhost:{ports.mlflow}"),
    ]


def _await_ready(stack: Stack) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        stack.processes.assert_alive()
        if stack.airflow.is_ready() and stack.airflow.dag_ids() >= DAG_IDS:
            return
        time.sleep(_POLL_SECONDS)
    raise ToolFailed(f"Airflow was not ready after {_READY_SECONDS:.0f} s; its output is in {stack.layout.logs}")


def _await_api(stack: Stack) -> None:
    deadline = time.monotonic() + _API_SECONDS
    while time.monotonic() < deadline:
        stack.processes.assert_alive()
        try:
            with urllib.request.urlopen(f"{stack.ports.serving_url}/healthz", timeout=_ASK_SECONDS):  # noqa: S310 - ours
                return
        except (urllib.error.URLError, OSError):
            time.sleep(_POLL_SECONDS)
    raise ToolFailed(
        f"the API did not answer after {_API_SECONDS:.0f} s; its output is in {stack.processes.log_of('serving')}"
    )
