"""The dbt manifest that lineage is read from: that of the last build, or the project compiled aside."""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.outcomes import ToolFailed
from ml.settings import Settings
from ml.stores.dbt_run import DBT_PROJECT_DIR
from ml.stores.durable import write_durably

_TIMEOUT_SECONDS = 300
_PROJECT_FILES = (".sql", ".yml", ".yaml", ".csv")
_WRITTEN_BY_DBT = ("target", "logs", "dbt_packages")


@dataclass(frozen=True)
class Manifest:
    """A manifest whose models all have compiled SQL.

    Attributes:
        origin: Where it comes from, in words.
    """

    content: Mapping[str, Any]
    origin: str


def lineage_dir(settings: Settings) -> Path:
    return settings.shop_dir / "lineage"


def built_manifest(settings: Settings) -> Manifest | None:
    """The manifest that the last build left, if that build compiled every model."""
    path = settings.shop_dir / "dbt" / "target" / "manifest.json"
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):  # none yet, or dbt is writing it
        return None
    if not _is_compiled(content):
        return None
    return Manifest(content, f"the build of {content['metadata']['generated_at'][:16].replace('T', ' ')} UTC")


def current_manifest(settings: Settings, project_dir: Path = DBT_PROJECT_DIR) -> Manifest:
    """The manifest of the last build; before the first one, of the project as it is.

    Raises:
        ToolFailed: There is no build, and the project does not compile.
    """
    return built_manifest(settings) or compiled_project(settings, project_dir)


def compiled_project(settings: Settings, project_dir: Path = DBT_PROJECT_DIR) -> Manifest:
    """The project compiled without any data, kept until a file of it changes.

    Raises:
        ToolFailed: It does not compile.
    """
    kept = lineage_dir(settings) / f"compiled-{_digest(project_dir)}.json"
    origin = "the dbt project as it is"
    try:
        return Manifest(json.loads(kept.read_bytes()), origin)
    except (OSError, ValueError):
        content = _compile(settings, project_dir)
    for stale in kept.parent.glob("compiled-*.json"):
        stale.unlink(missing_ok=True)
    write_durably(kept, json.dumps(content).encode())
    return Manifest(content, origin)


def _is_compiled(manifest: Mapping[str, Any]) -> bool:
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    return bool(models) and all(node.get("compiled_code") for node in models)


def _project_files(project_dir: Path) -> list[Path]:
    return [
        path
        for path in sorted(project_dir.rglob("*"))
        if path.suffix in _PROJECT_FILES and path.relative_to(project_dir).parts[0] not in _WRITTEN_BY_DBT
    ]


def _digest(project_dir: Path) -> str:
    digest = hashlib.sha256()
    for path in _project_files(project_dir):
        digest.update(f"\n{path.relative_to(project_dir)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _compile(settings: Settings, project_dir: Path) -> dict[str, Any]:
    """Compile a copy of the project whose start hooks are gone: they need raw data, and the models' SQL does not."""
    import yaml

    with tempfile.TemporaryDirectory(prefix="shopwright-lineage-") as folder:
        project, state = Path(folder) / "project", Path(folder) / "var"
        for path in _project_files(project_dir):
            copy = project / path.relative_to(project_dir)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        config = yaml.safe_load((project / "dbt_project.yml").read_text())
        for hook in ("on-run-start", "on-run-end"):
            config.pop(hook, None)
        (project / "dbt_project.yml").write_text(yaml.safe_dump(config))
        for name in ("dbt", "warehouse"):
            (state / settings.shop_id / name).mkdir(parents=True)
        finished = _run_dbt(settings, project, state, Path(folder) / "target")
        manifest = Path(folder) / "target" / "manifest.json"
        content: dict[str, Any] = json.loads(manifest.read_bytes()) if manifest.exists() else {"nodes": {}}
        if finished.returncode != 0 or not _is_compiled(content):
            said = " ".join((finished.stdout + finished.stderr).split())
            raise ToolFailed(f"the dbt project does not compile: {said[-300:]}")
        return content


def _run_dbt(settings: Settings, project: Path, state: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-m", "dbt.cli.main", "--no-use-colors", "compile", "--target", "scratch"),
        # Tests are left out: what they compile to may ask the database.
        *("--select", "resource_type:model", "--no-populate-cache"),
        *("--project-dir", str(project), "--profiles-dir", str(project)),
        *("--target-path", str(target), "--log-path", str(target), "--log-level-file", "none"),
    ]
    environment = {
        "PYTHONUTF8": "1",
        "DO_NOT_TRACK": "1",
        "SHOPWRIGHT_STATE_DIR": str(state),
        "SHOPWRIGHT_SHOP_ID": settings.shop_id,
        "SHOPWRIGHT_TIMEZONE": settings.timezone,
    }
    try:
        return subprocess.run(
            command,
            env=environment,
            cwd=project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolFailed(f"dbt compile did not finish within {_TIMEOUT_SECONDS} s") from error
