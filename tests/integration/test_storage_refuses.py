"""The system stores no more bytes: the disk is full, files may not grow, the folder is read-only.

The error names why, readers see the old version, and with room again the same day publishes once.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REQUIRE_SERVERS
from tests.kill_points import Case, Outcome, run_cases
from tests.stand_in_warehouse import FIRST, NEXT, add_raw, expected_marts

MODULE = "tests.stand_in_warehouse"
SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.full) for seed in (2, 3))]
LEFT_KB = range(0, 64, 4)
POINTER_FIRST = {"ml.stores.versions:VersionStore.publish": "tests.taken_away:publish_pointer_first"}


@pytest.fixture(scope="module", params=SEEDS)
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    """A shop whose first day is published, and whose next one is in raw."""
    state = tmp_path_factory.mktemp("storage") / "published"
    add_raw(state, [FIRST], seed)
    (first,) = run_cases([Case(f"{MODULE}:run_day", {"state_dir": str(state), "day": str(FIRST)})])
    assert first.error is None
    add_raw(state, [NEXT], seed)
    return state


def in_namespace(mount: str) -> Sequence[str]:
    """A command that runs another after some mounts of its own; skips where the system does not permit that."""
    command = ["unshare", "-Urm", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    try:
        tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        reason = tried.stderr.strip() if tried.returncode else None
    except FileNotFoundError:
        reason = "unshare is not installed"
    if reason is not None:
        (pytest.fail if REQUIRE_SERVERS else pytest.skip)(f"no mounts in a namespace: {reason}")
    return command


@pytest.fixture
def disk(tmp_path: Path) -> tuple[Path, Sequence[str]]:
    """A folder, and a command under which it is a disk of 12 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder, in_namespace(f"mount -t tmpfs -o size=12m tmpfs {folder}")


def full_disks(published: Path, disk: tuple[Path, Sequence[str]], **other: Any) -> list[Outcome]:
    folder, command = disk
    arguments = {"published": str(published), "disk": str(folder), "day": str(NEXT)}
    scenario = f"{MODULE}:publish_on_a_full_disk"
    cases = [Case(scenario, {**arguments, "leave_kb": left}, **other) for left in LEFT_KB]
    return run_cases(cases, command)


def test_a_full_disk_is_named_and_the_old_version_serves_until_there_is_room(
    published: Path, disk: tuple[Path, Sequence[str]], seed: int
) -> None:
    """The disk fills up at another step of the publication each time: room for nothing, and for ever more of it."""
    old, new = expected_marts([FIRST], seed), expected_marts([FIRST, NEXT], seed)
    refused = []
    for left, outcome in zip(LEFT_KB, full_disks(published, disk), strict=True):
        assert outcome.error is None, f"{left} KB: {outcome.error}"
        assert outcome.result["seen"] in (old, new), left
        assert outcome.result["after"]["rows"] == new, left
        assert outcome.result["after"]["fates"] == ["published", "current"], left
        assert outcome.result["after"]["problems"] == [], left
        if outcome.result["refused"] is not None:
            refused.append(outcome.result["refused"])
    assert len(refused) > 5, "the disk was not full often enough"
    unnamed = [
        error
        for error in refused
        if not (error.startswith("ToolFailed") and "No space left on device (ENOSPC)" in error)
    ]
    assert unnamed == []
    assert {error.split()[1] for error in refused} >= {"marts", "warehouse"}, "these stores were never the ones refused"


def test_with_the_pointer_first_a_full_disk_leaves_readers_without_a_version(
    published: Path, disk: tuple[Path, Sequence[str]]
) -> None:
    """Positive control: the same full disks, with the order of the publication turned round."""
    errors = [outcome.error or "" for outcome in full_disks(published, disk, replaced=POINTER_FIRST)]
    assert [error for error in errors if "manifest is missing" in error], errors


def test_duckdb_opens_its_file_again_after_the_disk_was_full(disk: tuple[Path, Sequence[str]], seed: int) -> None:
    folder, command = disk
    scenario = f"{MODULE}:fill_the_disk_under_duckdb"
    (outcome,) = run_cases([Case(scenario, {"disk": str(folder), "seed": seed})], command)
    assert outcome.error is None
    assert "No space left on device" in outcome.result["refused"]
    assert (outcome.result["kept"], outcome.result["written"]) == (1000, 1000)


@pytest.mark.parametrize("limit", [64, 300, 700])
def test_a_limit_on_the_size_of_files_is_named_and_nothing_is_published(
    published: Path, tmp_path: Path, limit: int, seed: int
) -> None:
    state = tmp_path / "state"
    shutil.copytree(published, state)
    arguments = {"state_dir": str(state), "day": str(NEXT)}
    limited, free = run_cases(
        [
            Case(f"{MODULE}:publish_under_a_file_limit", {**arguments, "limit": limit}),
            Case(f"{MODULE}:look_retry_look", arguments),
        ]
    )
    assert limited.result["refused"].startswith("ToolFailed")
    assert "File too large (EFBIG)" in limited.result["refused"]
    assert limited.result["seen"] == expected_marts([FIRST], seed)
    assert free.result["after"]["rows"] == expected_marts([FIRST, NEXT], seed)
    assert free.result["after"]["fates"] == ["published", "current"]


def test_a_limit_that_only_the_pointer_fits_into_takes_the_marts_away_if_it_comes_first(
    published: Path, tmp_path: Path, seed: int
) -> None:
    """Positive control: a manifest is larger than a pointer, so the order decides what readers are left with."""
    ends = []
    for name, replaced in (("right", {}), ("wrong", POINTER_FIRST)):
        state = tmp_path / name
        shutil.copytree(published, state)
        arguments = {"state_dir": str(state), "day": str(NEXT), "limit": 300, "steps_before": 2}
        ends += run_cases([Case(f"{MODULE}:publish_under_a_file_limit", arguments, replaced=replaced)])
    right, wrong = ends
    assert right.error is None
    assert "EFBIG" in right.result["refused"]
    assert right.result["seen"] == expected_marts([FIRST], seed)
    assert wrong.error is not None
    assert "manifest is missing" in wrong.error


def test_a_read_only_folder_is_named_and_can_be_read(published: Path, tmp_path: Path, seed: int) -> None:
    state = tmp_path / "state"
    shutil.copytree(published, state)
    command = in_namespace(f"mount --bind {state} {state} && mount -o remount,ro,bind {state}")
    scenario = f"{MODULE}:publish_where_nothing_can_be_written"
    (outcome,) = run_cases([Case(scenario, {"state_dir": str(state), "day": str(NEXT)})], command)
    assert outcome.error is None
    for told in (outcome.result["refused"], outcome.result["rollback"]):
        assert told.startswith("ToolFailed")
        assert "Read-only file system (EROFS)" in told
    assert outcome.result["seen"] == expected_marts([FIRST], seed)
