"""A publication is killed with -9 at each of its steps: readers see a whole version, and a retry publishes once.

Each file that was written and not fsynced is cut in half when the process dies, as a power cut may leave it. What is
killed is the platform's own build, gate and publish steps, without dbt (tests/stand_in_warehouse.py).
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.kill_points import FSYNC, RENAME, STEPS, Case, KillPoint, Outcome, run_cases
from tests.stand_in_warehouse import FIRST, NEXT, add_raw, expected_marts, published_marts

RUN = "tests.stand_in_warehouse:run_day"
RETRY = "tests.stand_in_warehouse:look_retry_look"
# More seeds than one belong to `make test-full`: the steps are the same, the rows are not.
SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.full) for seed in (2, 3))]
KILLED = 9


@pytest.fixture(scope="module", params=SEEDS)
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    """A shop whose first day is published, and whose next one is in raw; tests work on copies."""
    state = tmp_path_factory.mktemp("killed") / "published"
    add_raw(state, [FIRST], seed)
    (first,) = run_cases([Case(RUN, {"state_dir": str(state), "day": str(FIRST)})])
    assert first.error is None
    add_raw(state, [NEXT], seed)
    return state


def run_next(state: Path, kill: KillPoint | None = None, **other: Any) -> Case:
    return Case(RUN, {"state_dir": str(state), "day": str(NEXT)}, kill, power_loss=str(state), **other)


def kill_everywhere(published: Path, points: list[KillPoint], **other: Any) -> list[tuple[KillPoint, Outcome, Outcome]]:
    """Per kill point, in a copy of the shop: how the killed run ended, and what a retry found and left."""
    cases = []
    for number, point in enumerate(points):
        state = Path(tempfile.mkdtemp(dir=published.parent)) / f"killed-{number}"
        shutil.copytree(published, state)
        cases += [run_next(state, point, **other), Case(RETRY, {"state_dir": str(state), "day": str(NEXT)})]
    outcomes = run_cases(cases)
    return list(zip(points, outcomes[::2], outcomes[1::2], strict=True))


@pytest.fixture(scope="module")
def points(published: Path) -> list[KillPoint]:
    """Every moment between two steps of the next day's publication."""
    counted = published.parent / "counted"
    shutil.copytree(published, counted)
    (alive,) = run_cases([run_next(counted)])
    assert alive.error is None
    missing = [step for step in STEPS if step not in alive.calls]
    assert missing == [], "a step is not made any more"
    return alive.kill_points()


def test_a_task_killed_between_any_two_steps_leaves_a_whole_version_and_its_retry_publishes_once(
    published: Path, points: list[KillPoint], seed: int
) -> None:
    """Killed mid-write, between fsync and rename, between manifest and pointer, after the pointer, around commits."""
    old, new = expected_marts([FIRST], seed), expected_marts([FIRST, NEXT], seed)
    killed_everywhere = kill_everywhere(published, points)
    states = []
    for point, killed, retried in killed_everywhere:
        assert killed.signal == KILLED, f"{point} was not reached"
        assert retried.error is None, f"{point}: {retried.error}"
        before, after = retried.result["before"], retried.result["after"]
        states.append("old" if before["rows"] == old else "new" if before["rows"] == new else f"torn {point}")
        assert before["problems"] == [], point
        assert after["rows"] == new, point
        assert after["fates"] == ["published", "current"], f"{point}: published more than once"
        assert (after["verdicts"], after["feature_versions"], after["alerts"]) == (1, 1, 0), point
        if states[-1] == "old":
            assert after["unfinished"] == [], f"{point}: what the killed process left was not removed"
    assert states == ["old"] * states.count("old") + ["new"] * states.count("new"), (
        "there is one commit, and no way back"
    )
    assert (states.count("old") > 20, states.count("new") > 3) == (True, True), "too few steps were killed"
    *_, last_old = [point for (point, _, _), state in zip(killed_everywhere, states, strict=True) if state == "old"]
    assert last_old.target == RENAME, "the rename of the pointer is what publishes"


def test_without_fsync_a_power_cut_tears_what_was_published(published: Path, points: list[KillPoint]) -> None:
    """Positive control: the same kills find torn files once fsync does nothing."""
    renames = [point for point in points if point.target == RENAME][-4:]  # manifest and pointer are among them
    unsynced = kill_everywhere(published, renames, replaced={FSYNC: "tests.taken_away:skip"})
    assert [killed.signal for _, killed, _ in unsynced] == [KILLED] * len(renames)
    torn = [retried.error for _, _, retried in unsynced if retried.error is not None]
    assert torn
    assert all("the pointer cannot be read" in error or "do not match" in error for error in torn)


def test_a_file_written_in_place_is_torn_where_a_durable_one_is_not(published: Path, seed: int) -> None:
    """Positive control: without a temporary file and a rename, a kill leaves half a pointer."""
    state = published.parent / "in_place"
    shutil.copytree(published, state)
    in_place = {"ml.stores.versions:write_durably": "tests.taken_away:write_in_place"}
    kill = KillPoint("tests.taken_away:half_written", is_after=True, nth=2)  # the manifest, then the pointer
    killed, retried = run_cases(
        [
            Case(RUN, {"state_dir": str(state), "day": str(NEXT)}, kill, replaced=in_place),
            Case(RETRY, {"state_dir": str(state), "day": str(NEXT)}),
        ]
    )
    assert killed.signal == KILLED
    assert retried.error is not None
    assert "the pointer cannot be read" in retried.error


def test_a_pointer_moved_before_its_manifest_is_written_names_nothing(published: Path, seed: int) -> None:
    """Positive control of the order: pointer first, killed between the two, and readers have no version at all."""
    state = published.parent / "wrong_order"
    shutil.copytree(published, state)
    wrong = {"ml.stores.versions:VersionStore.publish": "tests.taken_away:publish_pointer_first"}
    kill = KillPoint("ml.stores.versions:VersionStore._point_at", is_after=True, nth=1)
    killed, retried = run_cases(
        [
            Case(RUN, {"state_dir": str(state), "day": str(NEXT)}, kill, replaced=wrong),
            Case(RETRY, {"state_dir": str(state), "day": str(NEXT)}),
        ]
    )
    assert killed.signal == KILLED
    assert retried.error is not None
    assert "manifest is missing" in retried.error


def test_a_retry_after_the_pointer_moved_changes_nothing(published: Path, seed: int) -> None:
    """Killed after publishing and before success is told; without the content check the retry publishes again."""
    state = published.parent / "after"
    shutil.copytree(published, state)
    kill = KillPoint("ml.stores.versions:VersionStore._point_at", is_after=True, nth=1)
    (killed,) = run_cases([Case(RUN, {"state_dir": str(state), "day": str(NEXT)}, kill)])
    assert killed.signal == KILLED
    assert published_marts(state) == expected_marts([FIRST, NEXT], seed)
    control = published.parent / "control"
    shutil.copytree(state, control)
    unchecked = {
        "ml.stores.warehouse:_is_in": "tests.taken_away:never",
        "ml.stores.versions:VersionStore.publish": "tests.taken_away:publish_anyway",
    }
    retried, unprotected = run_cases(
        [
            Case(RETRY, {"state_dir": str(state), "day": str(NEXT)}),
            Case(RETRY, {"state_dir": str(control), "day": str(NEXT)}, replaced=unchecked),
        ]
    )
    assert retried.result["before"]["fates"] == retried.result["after"]["fates"] == ["published", "current"]
    assert len(unprotected.result["after"]["fates"]) == 3
