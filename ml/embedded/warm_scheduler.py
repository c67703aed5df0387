"""Airflow's scheduler with the heavy libraries imported once, before it forks its workers.

Every task is a fork of the scheduler, so it has them at once instead of importing them anew: about 10 s each for
Great Expectations, Feast and Evidently, 5 to 8 s for dbt and for MLflow with XGBoost (two cores, 2026-11). Only
libraries are loaded here, none of our own modules, so that an edit is seen by the next task.
"""

import importlib
import sys

from ml.outcomes import ToolFailed

LIBRARIES = ("great_expectations", "dbt.cli.main", "feast", "mlflow", "xgboost", "evidently")
_MIGRATION_SECONDS = 180


def main() -> None:
    """Import, wait until the database is migrated, and become the scheduler."""
    for library in LIBRARIES:
        try:
            importlib.import_module(library)
        except ImportError as error:  # the task that needs it will say so
            print(f"not loaded ahead: {library}: {error}", file=sys.stderr)  # noqa: T201 - goes to the scheduler's log
    from airflow.__main__ import main as airflow
    from airflow.utils.db import check_migrations

    try:
        check_migrations(_MIGRATION_SECONDS)  # type: ignore[no-untyped-call]
    except TimeoutError:
        raise ToolFailed(f"Airflow's database was not migrated within {_MIGRATION_SECONDS} s") from None
    # Its log server would listen on all interfaces (8793); logs are read from the files instead.
    sys.argv = ["airflow", "scheduler", "--skip-serve-logs"]
    airflow()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
