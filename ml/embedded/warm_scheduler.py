"""Airflow's scheduler with the heavy libraries imported once, before it forks its workers.

Every task is a fork of the scheduler, so it has them at once instead of importing them anew: about 10 s each for
Great Expectations, Feast and Evidently, 5 to 8 s for dbt and for MLflow with XGBoost (two cores, 2026-11). Only
libraries are loaded here, none of our own modules, so that an edit is seen by the next task.
"""

import importlib
import runpy
import sys
import time
from pathlib import Path

LIBRARIES = ("great_expectations", "dbt.cli.main", "feast", "mlflow", "xgboost", "evidently")
_POLL_SECONDS = 0.2


def main(go_ahead: Path) -> None:
    """Import, wait for the file that says that Airflow's database is ready, and become the scheduler."""
    for library in LIBRARIES:
        try:
            importlib.import_module(library)
        except ImportError as error:  # the task that needs it will say so
            print(f"not loaded ahead: {library}: {error}", file=sys.stderr)  # noqa: T201 - goes to the scheduler's log
    while not go_ahead.exists():
        time.sleep(_POLL_SECONDS)
    # Its log server would listen on all interfaces (8793); logs are read from the files instead.
    sys.argv = ["airflow", "scheduler", "--skip-serve-logs"]
    runpy.run_module("airflow", run_name="__main__")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
