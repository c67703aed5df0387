"""What is fed to a gate, what has to come of it, and what a proof says."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from ml.cli.selftest.bench import Bench

Outcome = Literal["proven", "failed", "unknown"]
SWITCHED_OFF = "switched off: "
"""Before the name of a bad input: the proof that a gate that lets it through is noticed."""


@dataclass(frozen=True)
class Failure:
    """Why a task failed. `is_data` when the data failed, else the work could not be done."""

    is_data: bool
    message: str


@dataclass(frozen=True)
class Walked:
    """What came of walking the DAGs. Names are `dag.task`.

    Attributes:
        passed: In the order in which they ran.
        due: Tasks that the scheduler would start next, and that were not started here.
    """

    passed: tuple[str, ...]
    failed: Mapping[str, Failure]
    due: tuple[str, ...]


class Walk(Protocol):
    """Runs the DAGs' own tasks as the scheduler would: a task that failed ends its branch."""

    def __call__(self, first: str, until: str, key: str, params: Mapping[str, object] | None = None) -> Walked:
        """Walk from a task, of which those before it have passed, to another, over as many DAGs as lie between.

        Args:
            first: The first task that is run.
            until: The last one; what the scheduler would start after it is only told (`due`).
            key: The runs' partition key.
            params: Of the first DAG's run.
        """


@dataclass(frozen=True)
class BadInput:
    """One bad input.

    Attributes:
        rule: The kind of rule that has to refuse it: the rule's name without the column that it is about.
        plant: Spoils the copy of the shop, in which all that comes before the gate is done or about to be done.
        start: First task to run, where it is another than the gate's usual one.
        stops_at: The task that has to fail, where it is another than the gate's own.
        is_data: The verdict is about the data; False where the check itself could not run.
        says: What the failed task's message has to contain.
        recorded_as: The rule of the stored verdict, where that names several kinds together.
        key: The run's partition key, where it is another than the gate's usual one.
        together: Inputs that share this word are fed in one walk, where a walk takes long and its failure names each
            of them. Like them in all that follows but `says`.
        during: Held while the tasks run.
    """

    name: str
    rule: str
    plant: Callable[[Bench], None]
    start: str | None = None
    stops_at: str | None = None
    is_data: bool = True
    says: str = ""
    recorded_as: str | None = None
    key: str | None = None
    together: str = ""
    during: Callable[[Bench], AbstractContextManager[object]] | None = None


@dataclass(frozen=True)
class Proof:
    """The result for one bad input."""

    gate: str
    bad_input: str
    outcome: Outcome
    detail: str


class GateProof(Protocol):
    """How a gate is proven."""

    @property
    def gate(self) -> str:
        """Its name in the record of proofs."""

    @property
    def task(self) -> str:
        """The task, `dag.task`, that is this gate."""

    @property
    def stage(self) -> str:
        """The state of the shop that its proofs begin with (`ml.cli.selftest.stages`)."""

    @property
    def rules(self) -> Mapping[str, str]:
        """Bad input -> the kind of rule that has to refuse it; empty where it does not matter which one does."""

    @property
    def switched(self) -> tuple[str, ...]:
        """Bad inputs that are also fed to the gate when it is switched off."""

    def prove(self, bench: Bench, walk: Walk) -> list[Proof]:
        """All proofs of the gate, and one more with the gate switched off."""


def proof_names(proof: GateProof) -> list[str]:
    """Every bad input as the record of proofs names it."""
    return [*proof.rules, *(f"{SWITCHED_OFF}{name}" for name in proof.switched)]
