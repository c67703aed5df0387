"""Kills a process at a named function, from outside of the code under test: production code has no hooks.

`python -m tests.kill_points` reads cases as JSON, imports what they need once, and runs each in a forked child of its
own. A case names a scenario (`module:function`) and, if it is to die, where: before or after the nth call of a
function. With `power_loss`, files that were written and not fsynced are cut in half when the child dies, as a power cut
may do.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

FSYNC = "os:fsync"
RENAME = "pathlib:Path.replace"
WRITE_PARQUET = "pyarrow.parquet:write_table"
RECORD_VERDICT = "ml.stores.operations:Operations.record_verdict"
RECORD_FEATURES = "ml.cli.warehouse:record_feature_versions"
STEPS = (WRITE_PARQUET, FSYNC, RENAME, RECORD_VERDICT, RECORD_FEATURES)
"""What a process does that lasts: bytes written, made durable, given their name; rows committed to the record."""


@dataclass(frozen=True)
class KillPoint:
    """Where a child kills itself with -9.

    Attributes:
        target: `module:attribute.path` of the function.
        is_after: After the call rather than before it.
        nth: Which call, from 1.
    """

    target: str
    is_after: bool
    nth: int

    def __str__(self) -> str:
        return f"{'after' if self.is_after else 'before'} call {self.nth} of {self.target.split(':')[1]}"


@dataclass(frozen=True)
class Case:
    """One child.

    Attributes:
        scenario: `module:function`, called with `arguments`.
        kill: None to let it live; its calls of STEPS are then counted.
        replaced: Function -> what takes its place (a protection taken away, for a positive control).
        power_loss: Folder in which files that were not fsynced are cut when the child dies.
    """

    scenario: str
    arguments: dict[str, Any]
    kill: KillPoint | None = None
    replaced: dict[str, str] = field(default_factory=dict)
    power_loss: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How a child ended.

    Attributes:
        signal: That ended it, 0 when none did.
        result: What the scenario returned.
        error: "<type>: <message>" of what it raised.
        calls: Calls of each of STEPS, in the order in which they were made.
    """

    signal: int
    result: Any = None
    error: str | None = None
    calls: list[str] = field(default_factory=list)

    def kill_points(self) -> list[KillPoint]:
        """One before each call, and one after the last: every moment between two steps once."""
        points = [
            KillPoint(target, is_after=False, nth=self.calls[: index + 1].count(target))
            for index, target in enumerate(self.calls)
        ]
        return [*points, KillPoint(self.calls[-1], is_after=True, nth=self.calls.count(self.calls[-1]))]


def run_cases(cases: Sequence[Case], command: Sequence[str] = (), timeout: float = 570) -> list[Outcome]:
    """Run each case in a child process of its own, one after the other.

    Args:
        command: What to start the children under, such as `unshare`.
    """
    finished = subprocess.run(
        [*command, sys.executable, "-m", "tests.kill_points"],
        input=json.dumps([asdict(case) for case in cases]),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert finished.returncode == 0, f"{finished.stdout}\n{finished.stderr}"
    outcomes = [Outcome(**json.loads(line)) for line in finished.stdout.splitlines() if line.startswith("{")]
    assert len(outcomes) == len(cases), finished.stderr
    return outcomes


def _locate(target: str) -> tuple[Any, str]:
    module, _, path = target.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    return owner, name


def _resolve(target: str) -> Any:
    owner, name = _locate(target)
    return getattr(owner, name)


@dataclass
class _Child:
    case: Case
    calls: list[str] = field(default_factory=list)
    synced: set[int] = field(default_factory=set)
    there_before: dict[int, int] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        for target, other in self.case.replaced.items():
            owner, name = _locate(target)
            setattr(owner, name, _resolve(other))
        if self.case.power_loss:
            self.there_before = {path.stat().st_ino: path.stat().st_mtime_ns for path in self._files()}
        for target in {*STEPS, self.case.kill.target if self.case.kill else STEPS[0]}:
            self._watch(target)
        try:
            return {"result": _resolve(self.case.scenario)(**self.case.arguments), "calls": self.calls}
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            traceback.print_exc()
            return {"error": f"{type(error).__name__}: {error}", "calls": self.calls}

    def _watch(self, target: str) -> None:
        owner, name = _locate(target)
        original: Callable[..., Any] = getattr(owner, name)
        kill = self.case.kill

        def watched(*arguments: Any, **named: Any) -> Any:
            self.calls.append(target)
            is_it = kill is not None and kill.target == target and self.calls.count(target) == kill.nth
            if is_it and kill is not None and not kill.is_after:
                self._die()
            result = original(*arguments, **named)
            if target == FSYNC and FSYNC not in self.case.replaced:
                self.synced.add(os.fstat(arguments[0]).st_ino)
            if is_it:
                self._die()
            return result

        setattr(owner, name, watched)

    def _files(self) -> list[Path]:
        # Not the operational record: SQLite syncs for itself, unseen from here.
        folder = Path(self.case.power_loss or "")
        return [path for path in folder.rglob("*") if path.is_file() and ".db" not in path.name]

    def _die(self) -> None:
        for path in self._files() if self.case.power_loss else ():
            status = path.stat()
            is_new = self.there_before.get(status.st_ino) != status.st_mtime_ns
            if is_new and status.st_ino not in self.synced:
                os.truncate(path, status.st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)


def _run_forked(case: Case) -> Outcome:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            with os.fdopen(writing, "w") as file:
                file.write(json.dumps(_Child(case).run()))
        except BaseException:  # noqa: BLE001 - the child must not go on as its parent
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        told = file.read()
    _, status = os.waitpid(pid, 0)
    ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return Outcome(signal=ended_by, **(json.loads(told) if told else {}))


def main() -> None:
    cases = [Case(**{**raw, "kill": KillPoint(**raw["kill"]) if raw["kill"] else None}) for raw in json.load(sys.stdin)]
    for case in cases:
        for target in (*STEPS, case.scenario):
            importlib.import_module(target.partition(":")[0])
    for case in cases:
        print(json.dumps(asdict(_run_forked(case))), flush=True)


if __name__ == "__main__":
    main()
