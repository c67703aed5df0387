"""The rules of the house that a machine can check and no linter does."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "core", "base"}


def _tracked(*suffixes: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    files = [ROOT / line for line in listed.stdout.splitlines() if line.endswith(suffixes)]
    return [file for file in files if file.exists()]


def test_a_file_is_read_in_one_sitting():
    lengths = {file: len(file.read_text().splitlines()) for file in _tracked(".py", ".sql")}
    assert lengths
    assert {file: length for file, length in lengths.items() if length > 500} == {}


def test_a_module_is_named_for_the_thing_it_holds():
    files = _tracked(".py")
    # dbt's own word for the layer of dimensions and facts is `core`; it is a folder of SQL.
    assert [
        file for file in files if {part.removesuffix(".py") for part in file.relative_to(ROOT).parts} & VAGUE_NAMES
    ] == []
    assert files


def test_sql_asks_nobody_for_the_time():
    clocks = re.compile(r"\b(now|today|current_date|current_timestamp|get_current_timestamp)\b\s*(\(|$|[,\s)])", re.I)
    files = [file for file in _tracked(".sql") if "tests" not in file.parts]
    assert files
    offenders = [file for file in files if clocks.search(re.sub(r"--.*", "", file.read_text()))]
    assert offenders == []


@pytest.mark.parametrize("folder", ["ml", "expectations", "feature_repo"])
def test_only_dags_know_airflow(folder):
    files = [file for file in _tracked(".py") if file.relative_to(ROOT).parts[0] == folder]
    assert files
    offenders = [file for file in files if re.search(r"^\s*(import|from) airflow\b", file.read_text(), re.M)]
    assert offenders == []


def test_only_the_settings_read_the_environment():
    reads = re.compile(r"os\.(getenv|environ\.get|environ\[[^]]+\](?!\s*=[^=]))")
    offenders = [
        file.relative_to(ROOT).as_posix()
        for file in _tracked(".py")
        if file.relative_to(ROOT).parts[0] in ("ml", "expectations", "dags") and reads.search(file.read_text())
    ]
    assert set(offenders) <= {"ml/settings.py"}


def test_no_department_of_one_shop_is_known_to_the_models():
    names = re.compile(r"\b(grocery|produce|fuel|kiosk|drug gm)\b", re.I)
    folders = ("ml/recommender", "ml/evaluation", "ml/fairness", "ml/monitoring", "dbt_project/models", "feature_repo")
    files = [file for file in _tracked(".py", ".sql") if file.relative_to(ROOT).as_posix().startswith(folders)]
    assert files
    assert [file for file in files if names.search(file.read_text())] == []
