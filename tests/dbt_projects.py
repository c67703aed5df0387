"""Copies of the dbt project in which a test may plant things."""

from pathlib import Path

from ml.stores.dbt_run import DBT_PROJECT_DIR


def copy_project(folder: Path) -> Path:
    """A copy of the project without what dbt wrote."""
    project = folder / "dbt_project"
    for path in DBT_PROJECT_DIR.rglob("*"):
        relative = path.relative_to(DBT_PROJECT_DIR)
        if path.is_file() and relative.parts[0] not in ("target", "logs"):
            (project / relative).parent.mkdir(parents=True, exist_ok=True)
            (project / relative).write_bytes(path.read_bytes())
    return project
