"""The one-machine profile: start it, check it, watch it; and what a task tells of its own end."""

import signal
import time
from types import FrameType
from typing import NoReturn

import click

from ml.alerts.notify import deliver
from ml.embedded.airflow_api import AirflowApi
from ml.embedded.layout import Layout
from ml.embedded.task_incidents import close_task_incidents, describe_error, open_task_incident
from ml.outcomes import EXIT_OK, EXIT_TOOL_FAILED, ToolFailed
from ml.settings import PREFIX, Settings, get_settings
from ml.shop.partition_keys import last_day_of
from ml.stores.operations import Operations

_DEMO_DAYS = 2
_IDLE_SECONDS = 1.0
_CALLBACK_SECONDS = 5.0


def report_task_failed(
    dag_id: str, task_id: str, partition_key: str | None, *, is_final: bool, error: BaseException | str | None
) -> None:
    """Called by a task's callback when a try failed. A run without a usable key has no day to report on."""
    try:
        day = last_day_of(partition_key)
    except ValueError:
        return
    operations = Operations.from_settings(get_settings())
    open_task_incident(operations, dag_id, task_id, day, is_final=is_final, reason=describe_error(error))


def report_task_passed(dag_id: str, task_id: str, partition_key: str | None) -> None:
    """Called by a task's callback when it succeeded. A run without a usable key has no day to report on."""
    try:
        day = last_day_of(partition_key)
    except ValueError:
        return
    close_task_incidents(Operations.from_settings(get_settings()), dag_id, task_id, day)


@click.command()
def up() -> None:
    """Start Airflow, MLflow and the API, run the shop's lifecycle, and keep running (Ctrl-C ends everything)."""
    settings = get_settings()
    _run(settings, settings.replay_days, stays=True)


@click.command()
def demo() -> None:
    """The same with two replayed days; ends when they are done, non-zero if a stage failed."""
    settings = get_settings()
    _run(settings, min(_DEMO_DAYS, settings.replay_days), stays=False)


@click.command()
def doctor() -> None:
    """Check ports, space, versions, locks, settings and the source; one line each, with the remedy."""
    from ml.embedded.doctor import check_source, examine

    settings = get_settings()
    findings = [*examine(settings), *check_source(settings)]
    for finding in findings:
        click.echo(finding.line())
    if not all(finding.is_ok for finding in findings):
        raise SystemExit(EXIT_TOOL_FAILED)


@click.command()
def watch() -> None:
    """Look at Airflow from outside and alert on killed tasks, broken DAG files and parts that are down."""
    from ml.embedded.processes import end_leftovers
    from ml.embedded.watch import Watch, watch_forever

    settings = get_settings()
    if settings.airflow_api_url is None:
        raise ToolFailed(f"{PREFIX}AIRFLOW_API_URL is not set: `shopwright up` sets it for the watch that it starts")
    layout = Layout(settings.shop_dir)
    airflow = AirflowApi(settings.airflow_api_url, layout.passwords)
    watch_forever(Watch(settings, Operations.from_settings(settings), airflow, click.echo))
    end_leftovers(layout.processes)  # `up` was killed: nobody else would end the rest


def _run(settings: Settings, replay_days: int, *, stays: bool) -> None:
    from ml.embedded.asking import Api, ask_api
    from ml.embedded.chain import StageFailed
    from ml.embedded.doctor import assert_fit, sole_owner
    from ml.embedded.lifecycle import run_lifecycle
    from ml.embedded.progress import Progress
    from ml.embedded.stack import running_stack
    from ml.embedded.summary import summary_lines

    progress = Progress(click.echo)
    for ending in (signal.SIGINT, signal.SIGTERM):  # a shell starts its background jobs with SIGINT ignored
        signal.signal(ending, _interrupt)
    assert_fit(settings)
    with sole_owner(Layout(settings.shop_dir)):
        try:
            progress.line("starting Airflow, MLflow and the API")
            with running_stack(settings, progress.line) as stack:
                operations = Operations.from_settings(settings)
                progress.line(f"ready: {stack.ports.airflow_url}, log-in in {stack.layout.passwords}")
                progress.line(f"the API: {stack.ports.serving_url}, key in {stack.layout.api_key}")
                try:
                    run_lifecycle(stack, operations, replay_days, progress)
                except StageFailed:
                    _tell_why(settings, operations)
                    raise
                with progress.stage("ask the API as a shop would"):
                    asked = list(ask_api(settings, Api(stack.ports.serving_url, stack.layout)))
                for line in summary_lines(stack, operations, progress.stages, asked, stays=stays):
                    click.echo(line)
                while stays:
                    stack.processes.assert_alive()
                    time.sleep(_IDLE_SECONDS)
        except KeyboardInterrupt:
            progress.line("ended; run the same command again to go on from here")
            raise SystemExit(EXIT_OK if stays else EXIT_TOOL_FAILED) from None


def _tell_why(settings: Settings, operations: Operations) -> None:
    """Print the alerts of a failed stage before everything ends; its callback may still be storing them."""
    time.sleep(_CALLBACK_SECONDS)
    deliver(operations, settings, console=click.echo)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
