"""Writers of the serving log are killed with -9: what they were told is kept is there, once, and so is what it spent.

The client keeps its own history: what it asked for, and what was acknowledged. After a kill it asks for all again.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ml.stores.group_commit import GroupCommitter
from ml.stores.serving_log import Entry, Outcome, ServingLog, Spend
from tests.kill_points import Case, KillPoint, run_cases

HERE = "tests.integration.test_killed_serving_log"
ROOT = Path(__file__).resolve().parents[2]
KILLED = 9
NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)
DAY = "2024-03-10"
REQUESTS, AT_ONCE = 60, 8
LIMIT = 10_000
PROCESSES, LIMIT_OF_ALL = 3, 1500
JUDGE, BEGIN = "ml.stores.log_judging:JudgedRequest.judge", "ml.stores.log_file:LogFile._begin"
APPEND = "ml.stores.serving_log:ServingLog.append_requests"


def request(name: str, number: int, limit: int = LIMIT) -> list[Entry]:
    """A decision that spends, and what it was decided on; under an idempotency key."""
    key = f"{name}-{number}"
    spends = (Spend("reviews", DAY, 1, limit),)
    return [
        Entry("decision", key, json.dumps({"of": key}), "d" * 64, NOON, spends, f"till:{key}", "r" * 64),
        Entry("payment", key, json.dumps({"of": key}), "e" * 64, NOON),
    ]


def write(folder: str, name: str, requests: int = REQUESTS, limit: int = LIMIT, pause: float = 0) -> dict[str, int]:
    """Post a client's requests, several at once, and note on disk what was acknowledged.

    Returns:
        Key -> position that its decision was told to have.
    """
    log = ServingLog(Path(folder) / "log.db")
    committer, told = GroupCommitter(log), {}
    with (Path(folder) / f"acknowledged-{name}").open("a") as file:

        async def post(number: int) -> None:
            outcomes = await committer.append(request(name, number, limit))
            if outcomes[0].status != "spent":
                file.write(f"{name}-{number}\n")
                file.flush()
                told[f"{name}-{number}"] = outcomes[0].position

        async def all_of_them() -> None:
            for start in range(0, requests, AT_ONCE):
                await asyncio.gather(*(post(number) for number in range(start, min(start + AT_ONCE, requests))))
                await asyncio.sleep(pause)

        asyncio.run(all_of_them())
    committer.close()
    return told


def acknowledged(folder: Path, name: str) -> list[str]:
    path = folder / f"acknowledged-{name}"
    # A line that was cut by the kill was not read by the client.
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if path.exists() else []


def kept(folder: Path, kind: str) -> list[str]:
    return [one.key for one in ServingLog(folder / "log.db").read_after(0, 100_000, [kind])]


def cases_of(folder: Path, point: KillPoint, replaced: dict[str, str] | None = None) -> list[Case]:
    """A writer that is killed."""
    folder.mkdir()
    return [Case(f"{HERE}:write", {"folder": str(folder), "name": "c"}, point, replaced=replaced or {})]


POINTS = [
    KillPoint(target, is_after, nth)
    for target in (BEGIN, JUDGE, APPEND)
    for is_after in (False, True)
    for nth in (1, 5)
]


def test_a_writer_killed_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(len(POINTS))]
    cases = [case for folder, point in zip(folders, POINTS, strict=True) for case in cases_of(folder, point)]
    for folder, point, killed in zip(folders, POINTS, run_cases(cases), strict=True):
        assert killed.signal == KILLED, f"{point} was not reached"
        told = [line.strip() for line in acknowledged(folder, "c")]
        before = kept(folder, "decision")
        assert set(told) <= set(before), point
        assert kept(folder, "payment") == before, point  # a request's entries come together or not at all
        assert ServingLog(folder / "log.db").spent(DAY).get("reviews", 0) == len(before), point
        again = write(str(folder), "c")
        assert set(again) == {f"c-{number}" for number in range(REQUESTS)}, point
        after = kept(folder, "decision")
        assert after[: len(before)] == before, point
        assert len(after) == len(set(after)) == REQUESTS, point
        assert ServingLog(folder / "log.db").spent(DAY) == {"reviews": REQUESTS}, point


_WAITING: list[Sequence[Sequence[Entry]]] = []


def acknowledge_before_commit(self: Any, requests: Sequence[Sequence[Entry]]) -> list[list[Outcome]]:
    """What an append must not be: answered first, written with the next."""
    from ml.settings import wall_clock
    from ml.stores.log_judging import JudgedRequest

    _WAITING.append(requests)
    with self._file.writing() as connection:
        for earlier in _WAITING[:-1]:
            for entries in earlier:
                JudgedRequest(connection, entries, wall_clock()).judge()
    del _WAITING[:-1]
    return [[Outcome("taken", 1, "") for _ in entries] for entries in requests]


def spend_for_itself(self: Any, requests: Sequence[Sequence[Entry]]) -> list[list[Outcome]]:
    """What an append must not be either: the allowance is taken in a transaction before that of the entries."""
    from dataclasses import replace

    from ml.settings import wall_clock
    from ml.stores.log_judging import JudgedRequest

    with self._file.writing() as connection:
        for entries in requests:
            for entry in entries:
                for spend in entry.spends:
                    values = (spend.day, spend.name, spend.amount)
                    connection.execute(
                        "insert into spends (day, name, amount) values (?, ?, ?) "
                        "on conflict (day, name) do update set amount = amount + excluded.amount",
                        values,
                    )
    with self._file.writing() as connection:
        plain = [[replace(entry, spends=()) for entry in entries] for entries in requests]
        return [JudgedRequest(connection, entries, wall_clock()).judge() for entries in plain]


def test_the_kills_find_a_log_that_acknowledges_too_early_and_one_that_spends_apart(tmp_path: Path) -> None:
    early, apart = tmp_path / "early", tmp_path / "apart"
    cases = [
        *cases_of(early, KillPoint(BEGIN, is_after=False, nth=4), {APPEND: f"{HERE}:acknowledge_before_commit"}),
        *cases_of(apart, KillPoint(BEGIN, is_after=False, nth=4), {APPEND: f"{HERE}:spend_for_itself"}),
    ]
    assert [outcome.signal for outcome in run_cases(cases)] == [KILLED, KILLED]
    told = {line.strip() for line in acknowledged(early, "c")}
    assert told - set(kept(early, "decision"))
    assert ServingLog(apart / "log.db").spent(DAY)["reviews"] > len(kept(apart, "decision"))


def start_writer(folder: Path, name: str) -> "subprocess.Popen[bytes]":
    """A writer that goes on until it is killed."""
    code = f"""
import time
from pathlib import Path
from {HERE} import write
Path({str(folder)!r}, "ready-{name}").touch()
while not Path({str(folder)!r}, "go").exists():
    time.sleep(0.01)
write({str(folder)!r}, {name!r}, 1_000_000, {LIMIT_OF_ALL}, 0.05)
"""
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


def wait_until(holds: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < ends_at, "the writers acknowledge nothing"
        time.sleep(0.02)


def test_processes_share_the_log_and_its_allowances_while_they_are_killed(tmp_path: Path) -> None:
    """Also: who reads on from the last position misses nothing, whoever writes."""
    log, dice = ServingLog(tmp_path / "log.db"), random.Random(20240310)  # noqa: S311 - which one dies
    names = [f"w{number}" for number in range(PROCESSES)]
    writers = {name: start_writer(tmp_path, name) for name in names}
    tailed: list[int] = []
    try:
        wait_until(lambda: all((tmp_path / f"ready-{name}").exists() for name in names))
        (tmp_path / "go").touch()
        wait_until(lambda: all(acknowledged(tmp_path, name) for name in names))
        for _ in range(6):
            victim = dice.choice(names)
            writers[victim].send_signal(signal.SIGKILL)
            writers[victim].wait()
            writers[victim] = start_writer(tmp_path, victim)
            for _read in range(10):
                tailed += [one.position for one in log.read_after(tailed[-1] if tailed else 0, 50)]
                time.sleep(0.02)
    finally:
        for writer in writers.values():
            writer.kill()
            writer.wait()
    write(str(tmp_path), "last", LIMIT_OF_ALL, LIMIT_OF_ALL)
    while more := [one.position for one in log.read_after(tailed[-1] if tailed else 0, 1000)]:
        tailed += more
    assert tailed == [one.position for one in log.read_after(0, 1_000_000)]
    decisions = kept(tmp_path, "decision")
    assert len(decisions) == len(set(decisions))
    for name in names:
        told = [line.strip() for line in acknowledged(tmp_path, name)]
        assert told, f"{name} was never acknowledged"
        assert set(told) <= set(decisions)
    assert log.spent(DAY) == {"reviews": len(decisions)} == {"reviews": LIMIT_OF_ALL}
