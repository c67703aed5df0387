"""One `dbt build` in its own process, and what came of it."""

import fcntl
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb

from ml.outcomes import DataFailed, ToolFailed
from ml.settings import PROJECT_DIR, Settings
from ml.stores.durable import storage_refusal

DBT_PROJECT_DIR = PROJECT_DIR / "dbt_project"
_TIMEOUT_SECONDS = 1800
# The text of these DuckDB errors quotes SQL and names, never values of rows; that of all others is withheld.
_QUOTABLE_ERRORS = ("Binder Error", "Catalog Error", "Parser Error", "Compilation Error", "Dependency Error")
_ERROR_KIND = re.compile(r"\b([A-Z][A-Za-z]*(?: [A-Z][a-z]+)* Error)\b:?([^\n]*)")
_SHOWN_PROBLEMS = 5


@dataclass(frozen=True)
class DbtRun:
    """A finished build: the database that it wrote and dbt's own account of it."""

    database: Path
    manifest_path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.manifest_path.read_bytes())
        return content


def scratch_path(settings: Settings) -> Path:
    return settings.shop_dir / "warehouse" / "scratch.duckdb"


def build_scratch(
    settings: Settings,
    raw_version: str,
    target_day: date,
    project_dir: Path = DBT_PROJECT_DIR,
    database: Path | None = None,
) -> DbtRun:
    """Build all models and run all data tests into a scratch database.

    The database stays from build to build: what the last one left is extended where raw data and code allow it (see
    dbt_project/macros/build_state.sql), and otherwise built anew, with the same rows. Unit tests judge code rather
    than data; they run in the test suite and in a plain `dbt build`.

    Args:
        database: Another file than the shop's own, for builds that are only looked at.

    Raises:
        DataFailed: A data test or an enforced contract failed.
        ToolFailed: dbt or DuckDB could not do the work.
    """
    scratch = database or scratch_path(settings)
    scratch.parent.mkdir(parents=True, exist_ok=True)
    token = uuid4().hex
    artifacts = settings.shop_dir / "dbt" / "target"
    command = [
        *(sys.executable, "-m", "dbt.cli.main", "--no-use-colors", "build", "--target", "scratch"),
        *("--project-dir", str(project_dir), "--profiles-dir", str(project_dir)),
        *("--target-path", str(artifacts), "--log-path", str(settings.shop_dir / "dbt" / "logs")),
        *("--log-level-file", "none", "--exclude-resource-type", "unit_test"),
    ]
    with (scratch.parent / ".scratch.lock").open("a") as lock:
        # dbt inherits the lock, so one whose parent was killed keeps the next build waiting until it ends.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _was_built(scratch):
            for leftover in scratch.parent.glob(f"{scratch.name}*"):
                leftover.unlink()
        try:
            finished = subprocess.run(
                command,
                env=_environment(settings, scratch, raw_version, target_day, token),
                cwd=project_dir,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
                pass_fds=(lock.fileno(),),
            )
        except subprocess.TimeoutExpired as error:
            raise ToolFailed(f"dbt build did not finish within {_TIMEOUT_SECONDS} s") from error
    run = DbtRun(scratch, artifacts / "manifest.json")
    results = _results_of(artifacts / "run_results.json", token)
    _judge(run, results, finished)
    return run


def _was_built(scratch: Path) -> bool:
    """Whether the last build into the database ended well; one that cannot be read is rubbish too."""
    try:
        with duckdb.connect(str(scratch), read_only=True) as database:
            return bool(database.execute("select status from build_state.state").fetchall() == [("built",)])
    except duckdb.Error:
        return False


def _environment(settings: Settings, scratch: Path, raw_version: str, target_day: date, token: str) -> dict[str, str]:
    """All that dbt sees: nothing of the caller's shell can change what is built."""
    return {
        "PYTHONUTF8": "1",
        "DO_NOT_TRACK": "1",
        "SHOPWRIGHT_STATE_DIR": str(settings.shop_dir.parent),
        "SHOPWRIGHT_SHOP_ID": settings.shop_id,
        "SHOPWRIGHT_TIMEZONE": settings.timezone,
        "WAREHOUSE_DATABASE": str(scratch),
        "WAREHOUSE_RAW_VERSION": raw_version,
        "WAREHOUSE_TARGET_DAY": target_day.isoformat(),
        # dbt writes it into its artifacts, so that those of an earlier run are not taken for this one's.
        "DBT_ENV_CUSTOM_ENV_RUN": token,
    }


def _results_of(path: Path, token: str) -> list[dict[str, Any]] | None:
    if not path.exists():
        return None
    content = json.loads(path.read_bytes())
    if content["metadata"]["env"].get("RUN") != token:
        return None
    results: list[dict[str, Any]] = content["results"]
    return results


def _judge(run: DbtRun, results: list[dict[str, Any]] | None, finished: subprocess.CompletedProcess[str]) -> None:
    if results is None:
        raise ToolFailed(f"dbt could not start the build: {_explain(finished.stdout + finished.stderr)}")
    errors = [result for result in results if result["status"] in ("error", "runtime error")]
    broken = [result for result in errors if _is_contract_break(result)]
    if len(errors) > len(broken):
        raise ToolFailed(_list(_describe_error(result) for result in errors if result not in broken))
    failed = [result for result in results if result["status"] == "fail"]
    if failed or broken:
        descriptions = [_describe_failure(run.manifest, result) for result in failed]
        raise DataFailed(_list([*map(_describe_contract, broken), *descriptions]))
    if finished.returncode != 0:
        raise ToolFailed(f"dbt ended with exit code {finished.returncode}: {_explain(finished.stdout)}")


def _is_contract_break(result: Mapping[str, Any]) -> bool:
    return "enforced contract that failed" in (result["message"] or "")


def _describe_contract(result: Mapping[str, Any]) -> str:
    columns = [line.split("|")[1].strip() for line in result["message"].splitlines() if line.strip().startswith("| ")]
    named = [column for column in columns if column not in ("column_name", "") and not column.startswith("-")]
    return f"model {_name(result)} breaks its contract in {', '.join(named)}"


def _describe_failure(manifest: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    node = manifest["nodes"][result["unique_id"]]
    # A generic test holds its table as the text of a ref() or source() call; a test of its own has parents only.
    tested = re.findall(r"'(\w+)'", ((node.get("test_metadata") or {}).get("kwargs") or {}).get("model", ""))
    parents = [parent.split(".")[-1] for parent in manifest["parent_map"][result["unique_id"]]]
    model = ".".join(tested) or ", ".join(parents)
    return f"model {model} fails test {node['name']} in {result['failures']} rows"


def _describe_error(result: Mapping[str, Any]) -> str:
    return f"{result['unique_id'].split('.')[0]} {_name(result)}: {_explain(result['message'] or '')}"


def _explain(output: str) -> str:
    """The kind of error, with its text where that cannot hold values of rows."""
    kinds = _ERROR_KIND.findall(output)
    if (refusal := storage_refusal(output)) is not None:
        return f"{kinds[-1][0] if kinds else 'IO Error'}: {refusal}"
    for kind, text in reversed(kinds):
        if kind.endswith(_QUOTABLE_ERRORS):
            following = output[output.rindex(text) + len(text) :].strip().splitlines() if text else []
            return f"{kind}: {text.strip() or ' '.join(following[:1])}".rstrip(": ")
    return f"{kinds[-1][0]} (its text may hold values and is withheld)" if kinds else "no reason given"


def _name(result: Mapping[str, Any]) -> str:
    return str(result["unique_id"].split(".")[2])


def _list(problems: Iterable[str]) -> str:
    described = list(problems)
    more = f"; and {len(described) - _SHOWN_PROBLEMS} more" if len(described) > _SHOWN_PROBLEMS else ""
    return "; ".join(described[:_SHOWN_PROBLEMS]) + more
