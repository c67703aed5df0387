"""One run of the self-test: makes the small shop once, proves each gate in a child process, two at a time."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ml.cli.selftest.bench import environment, make_shop
from ml.cli.selftest.child import RESULT
from ml.cli.selftest.proofs import Proof, proof_names
from ml.cli.selftest.registry import GATES
from ml.cli.selftest.stages import STAGES
from ml.embedded.airflow_home import DAGS_DIR, SWITCHED_OFF
from ml.outcomes import ToolFailed
from ml.settings import PREFIX, PROJECT_DIR, Settings

_AT_ONCE = 2
_CHILD_SECONDS = 1800
_LONGEST_DETAIL = 2000
_BENCH = "bench"
_NOT_INHERITED = (PREFIX, "AIRFLOW", "_AIRFLOW", "MLFLOW", "PYTHON")

Say = Callable[[str], None]


def logs_folder(settings: Settings) -> Path:
    """Where the output of the newest run's child processes lies."""
    return settings.shop_dir / "selftest"


def prove_gates(settings: Settings, gates: Sequence[str], say: Say) -> list[Proof]:
    """Prove gates. Of one that could not even be tried, every proof is unknown.

    Args:
        gates: Names of `registry.GATES`.
        say: Receives a line when a child process has ended.
    """
    logs = logs_folder(settings)
    logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="shopwright-selftest-") as folder:
        return _Run(Path(folder), logs, settings.seed, say).prove(gates)


class _Run:
    def __init__(self, folder: Path, logs: Path, seed: int, say: Say) -> None:
        self._folder = folder
        self._logs = logs
        self._seed = seed
        self._say = say
        self._children: set[subprocess.Popen[bytes]] = set()

    def prove(self, gates: Sequence[str]) -> list[Proof]:
        """All proofs. Whatever ends the run early, such as a time limit, ends its child processes too."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                return self._prove_all(pool, gates)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in tuple(self._children):
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(child.pid, signal.SIGKILL)
                raise

    def _prove_all(self, pool: ThreadPoolExecutor, gates: Sequence[str]) -> list[Proof]:
        """Stages follow each other; a gate starts as soon as its stage is there."""
        waiting = [GATES[name] for name in gates]
        proven: dict[str, Future[list[Proof]]] = {}
        before: str | None = None
        problem: str | None = None
        for stage in STAGES:
            if not waiting:
                break
            try:
                if problem is None:
                    pool.submit(self._make, stage, before).result()
            except (ToolFailed, OSError) as error:
                problem = f"the shop could not be made: {error}"
            for gate in [gate for gate in waiting if gate.stage == stage]:
                waiting.remove(gate)
                work = self._blame if problem else self._prove
                proven[gate.gate] = pool.submit(work, gate.gate, problem or stage)
            before = stage
        return [proof for name in gates for proof in proven[name].result()]

    def _make(self, stage: str, before: str | None) -> None:
        own = self._folder / f"stage-{stage}"
        if before is None:
            make_shop(own / _BENCH, self._seed)
        else:
            shutil.copytree(self._folder / f"stage-{before}" / _BENCH, own / _BENCH)
        self._child(own, "stage", stage)

    def _prove(self, gate: str, stage: str) -> list[Proof]:
        own = self._folder / f"gate-{gate}"
        shutil.copytree(self._folder / f"stage-{stage}" / _BENCH, own / _BENCH)
        try:
            self._child(own, "gate", gate)
            found = [Proof(**raw) for raw in json.loads((own / RESULT).read_bytes())]
        except (ToolFailed, OSError, ValueError) as error:
            return self._blame(gate, str(error))
        finally:
            shutil.rmtree(own, ignore_errors=True)
        return found or self._blame(gate, "the gate has no proofs")

    @staticmethod
    def _blame(gate: str, problem: str) -> list[Proof]:
        return [Proof(gate, name, "unknown", problem[:_LONGEST_DETAIL]) for name in proof_names(GATES[gate])]

    def _child(self, own: Path, what: str, name: str) -> None:
        log = self._logs / f"{what}-{name}.log"
        command = [sys.executable, "-m", "dag_support.selftest", str(own), what, name]
        with log.open("w") as output:
            child = subprocess.Popen(
                command,
                env=_environment(own, self._logs / "home"),
                cwd=PROJECT_DIR,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own, so that dbt ends with it
            )
        self._children.add(child)
        try:
            ended = child.wait(_CHILD_SECONDS)
        except subprocess.TimeoutExpired as error:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise ToolFailed(f"{what} {name} did not end within {_CHILD_SECONDS} s; see {log}") from error
        finally:
            self._children.discard(child)
        self._say(f"{what} {name}: {'done' if ended == 0 else f'ended with {ended}'}")
        if ended != 0:
            raise ToolFailed(f"{what} {name} ended with exit code {ended}; see {log}")


def _environment(own: Path, home: Path) -> dict[str, str]:
    """Nothing of the real shop's settings, of its Airflow or of its MLflow.

    Args:
        home: In place of the user's; it stays, for what libraries keep there.
    """
    home.mkdir(parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    return {
        **inherited,
        **SWITCHED_OFF,
        **environment(own / _BENCH),
        "AIRFLOW_HOME": str(own / "airflow"),
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "great_expectations=warning",
        "HOME": str(home),
        "MPLBACKEND": "Agg",
        "PYTHONPATH": os.pathsep.join((str(PROJECT_DIR), str(DAGS_DIR))),
    }
