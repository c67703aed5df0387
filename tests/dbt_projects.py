"""The dbt project as tests see it: parsed, or copied so that things can be planted in it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def parse_project(project: Path, artifacts: Path) -> dict[str, Any]:
    """dbt's manifest of a project, without a database."""
    finished = subprocess.run(
        [sys.executable, "-m", "dbt.cli.main", "--no-use-colors", "parse", "--target-path", str(artifacts)],
        cwd=project,
        env={"PATH": os.environ["PATH"], "DBT_LOG_PATH": str(artifacts), "SHOPWRIGHT_STATE_DIR": str(artifacts)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
    manifest: dict[str, Any] = json.loads((artifacts / "manifest.json").read_bytes())
    return manifest
