"""Two processes publish at once, and days are backfilled over live ones: one publisher, and the serial end state."""

import json
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.kill_points import ROOT, Case, run_cases
from tests.stand_in_warehouse import add_raw, expected_marts, look, published_marts

FIRST = date(2024, 1, 28)
DAYS = [FIRST + timedelta(days=offset) for offset in range(6)]
SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.full) for seed in (2, 3))]
PUBLISHER = """
import json, random, sys
from datetime import date
from tests import kill_points, stand_in_warehouse as stand_in

state_dir, seed, days, replaced = json.loads(sys.argv[1])
for target, other in replaced.items():
    owner, name = kill_points._locate(target)
    setattr(owner, name, kill_points._resolve(other))
random.Random(seed).shuffle(days)
print("ready", flush=True)
sys.stdin.readline()
for day in days:
    stand_in.add_raw(state_dir, [date.fromisoformat(day)], 7)
    for _ in range(5):  # as a scheduler would: an accident is tried again
        try:
            stand_in.run_day(state_dir, day)
            break
        except stand_in.ToolFailed as error:
            print(error, file=sys.stderr)
    else:
        sys.exit("not published")
"""


def publish_at_once(state: Path, seed: int, days: list[list[date]], replaced: dict[str, str]) -> list[int]:
    """Start one process per list of days, all at the same moment; returns their exit codes."""
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", PUBLISHER),
                json.dumps([str(state), seed + number, [str(day) for day in chosen], replaced]),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, chosen in enumerate(days)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=300)
    return [process.returncode for process in processes]


@pytest.fixture(params=SEEDS)
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def shared(state: Path) -> None:
    add_raw(state, [FIRST], 7)
    (first,) = run_cases([Case("tests.stand_in_warehouse:run_day", {"state_dir": str(state), "day": str(FIRST)})])
    assert first.error is None


def test_a_backfill_over_live_days_ends_like_days_in_a_row(tmp_path: Path, seed: int) -> None:
    """Two processes, each with half of the days in an order of its own; raw grows while both build."""
    shared(tmp_path)
    assert publish_at_once(tmp_path, seed, [DAYS[1::2], DAYS[2::2]], {}) == [0, 0]
    assert published_marts(tmp_path) == expected_marts(DAYS, 7)
    seen = look(str(tmp_path))
    assert seen["problems"] == []
    assert seen["fates"].count("current") == 1
    assert set(seen["fates"]) == {"current", "published"}, "each version was built upon the one before it"


def test_two_runs_of_the_same_day_publish_it_once(tmp_path: Path, seed: int) -> None:
    shared(tmp_path)
    assert publish_at_once(tmp_path, seed, [[DAYS[1]], [DAYS[1]]], {}) == [0, 0]
    assert published_marts(tmp_path) == expected_marts(DAYS[:2], 7)
    assert look(str(tmp_path))["fates"] == ["published", "current"]


def test_without_the_fence_the_slower_of_two_takes_the_others_day_away(tmp_path: Path, seed: int) -> None:
    """Positive control: both days are built from the same parent, and each is published over whatever is current."""
    outcomes: dict[str, Any] = {}
    for name, replaced in (
        ("fenced", {}),
        ("unfenced", {"ml.stores.versions:VersionStore.publish": "tests.taken_away:publish_anyway"}),
    ):
        state = tmp_path / name
        shared(state)
        arguments = {"state_dir": str(state), "days": [str(DAYS[1]), str(DAYS[2])], "seed": 7}
        scenario = "tests.stand_in_warehouse:publish_interleaved"
        (outcomes[name],) = run_cases([Case(scenario, arguments, replaced=replaced)])
        assert outcomes[name].error is None
    assert published_marts(tmp_path / "fenced") == expected_marts(DAYS[:3], 7)
    assert published_marts(tmp_path / "unfenced") == expected_marts([DAYS[0], DAYS[1]], 7), "the newer day is gone"
