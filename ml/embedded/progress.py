"""Plain lines that tell a waiting person what is done, what runs, and how long it took."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ml.embedded.airflow_api import TaskRun

_STILL_RUNNING_SECONDS = 30.0


class Progress:
    """
    Args:
        say: Receives one line at a time.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._begun = time.monotonic()
        self._last_line = time.monotonic()
        self.stages: list[tuple[str, float]] = []

    def line(self, text: str) -> None:
        self._last_line = time.monotonic()
        minutes, seconds = divmod(int(self._last_line - self._begun), 60)
        self._say(f"[{minutes:3d}:{seconds:02d}] {text}")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A part of the lifecycle; its time is told at its end and kept for the summary."""
        self.line(f"== {name}")
        begun = time.monotonic()
        yield
        seconds = time.monotonic() - begun
        self.stages.append((name, seconds))
        self.line(f"== {name}: done in {seconds:.0f} s")

    def task_ended(self, key: str, task: TaskRun) -> None:
        outcome = f"{task.seconds:6.1f} s" if task.state == "success" else str(task.state).replace("_", " ").upper()
        tries = f"  (try {task.try_number})" if task.try_number > 1 else ""
        self.line(f"{key:<16} {task.dag_id:<21} {task.task_id:<24} {outcome}{tries}")

    def still_running(self, key: str, tasks: Sequence[TaskRun]) -> None:
        """Say what runs, when nothing else was said for a while."""
        if tasks and time.monotonic() - self._last_line >= _STILL_RUNNING_SECONDS:
            names = ", ".join(task.task_id for task in tasks)
            self.line(f"{key:<16} {tasks[0].dag_id:<21} {names} still running")
