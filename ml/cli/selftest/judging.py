"""What has to be true after bad input went through a gate's tasks for the gate to be proven."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

from ml.cli.selftest.bench import DAY, Bench
from ml.cli.selftest.proofs import SWITCHED_OFF, BadInput, Outcome, Proof, Walk, Walked
from ml.shop.contract import CONTRACT
from ml.stores.operations import gate_verdicts, incidents

Switch = Callable[[Bench], AbstractContextManager[object]]


@dataclass(frozen=True)
class _Trial:
    """One walk with bad input: what is published before and after, and the incidents that were open before."""

    walked: Walked
    before: Mapping[str, str | None]
    after: Mapping[str, str | None]
    known: set[int]


@dataclass(frozen=True)
class BlockingGate:
    """A gate whose task fails on bad input, so that nothing after it runs.

    Attributes:
        start: First task that a proof runs.
        bad_inputs: The first one is also fed to the gate when it is switched off.
        switched_off: The one place at which the gate is switched off.
        prepare: What is done once, from the stage's state, before the proofs.
        verdicts: The gate's name in the record of verdicts.
        incident_kinds: One of these has to be open, of the rule where incidents name rules.
    """

    gate: str
    task: str
    stage: str
    start: str
    bad_inputs: tuple[BadInput, ...]
    switched_off: Switch
    verdicts: str
    incident_kinds: tuple[str, ...]
    key: str = DAY.isoformat()
    prepare: Callable[[Bench, Walk], None] = lambda _bench, _walk: None

    @property
    def rules(self) -> Mapping[str, str]:
        return {bad.name: bad.rule for bad in self.bad_inputs}

    @property
    def switched(self) -> tuple[str, ...]:
        return (self.bad_inputs[0].name,)

    def prove(self, bench: Bench, walk: Walk) -> list[Proof]:
        self.prepare(bench, walk)
        bench.keep()
        groups: dict[str, list[BadInput]] = {}
        for bad in self.bad_inputs:
            groups.setdefault(bad.together or bad.name, []).append(bad)
        proofs = [proof for group in groups.values() for proof in self._prove_group(bench, walk, group)]
        return [*proofs, self.prove_switch(bench, walk, self.bad_inputs[0])]

    def _prove_group(self, bench: Bench, walk: Walk, group: Sequence[BadInput]) -> list[Proof]:
        """Feed bad inputs to the gate, in one walk, and see that it stops there and names each of them."""
        walks: list[_Trial] = []

        def problems(bad: BadInput) -> Iterator[str]:
            if not walks:
                walks.append(self._try(bench, walk, group))
            yield from self._problems(bench, bad, walks[0])

        return [proof_of(self.gate, bad.name, partial(problems, bad)) for bad in group]

    def prove_switch(self, bench: Bench, walk: Walk, bad: BadInput) -> Proof:
        """Switch the gate off and feed it bad input: its proof must fail because the input gets through."""

        def problems() -> Iterator[str]:
            found = list(self._problems(bench, bad, self._try(bench, walk, [bad], self.switched_off)))
            if not any(problem.startswith(GOT_THROUGH) for problem in found):
                yield f"with the gate switched off the bad input did not get through: {'; '.join(found) or 'blocked'}"

        return proof_of(self.gate, f"{SWITCHED_OFF}{bad.name}", problems)

    def _try(self, bench: Bench, walk: Walk, group: Sequence[BadInput], switch: Switch = nullcontext) -> _Trial:
        bench.reset()
        for bad in group:
            bad.plant(bench)
        before, known = bench.published(), _open_incidents(bench)
        first = group[0]
        with (first.during or nullcontext)(bench), switch(bench):
            walked = walk(first.start or self.start, self.task, first.key or self.key)
        return _Trial(walked, before, bench.published(), known)

    def _problems(self, bench: Bench, bad: BadInput, trial: _Trial) -> Iterator[str]:
        yield from got_through(trial.walked, trial.before, trial.after)
        yield from _not_failed(trial.walked, bad, bad.stops_at or self.task)
        yield from self._untold(bench, bad, trial.known)

    def _untold(self, bench: Bench, bad: BadInput, known: set[int]) -> Iterator[str]:
        rows = bench.operations.rows(gate_verdicts, gate=self.verdicts)
        status = "failed" if bad.is_data else "unknown"
        broken = {
            rule_kind(rule["rule"], row["object"])
            for row in rows
            for rule in row["rules"]
            if rule["status"] == status and row["status"] == status
        }
        if (bad.recorded_as or bad.rule) not in broken:
            yield f"no verdict names {bad.recorded_as or bad.rule}; broken are {', '.join(sorted(broken)) or 'none'}"
        if not any(
            incident["id"] not in known and incident["kind"] in self.incident_kinds
            for incident in bench.operations.rows(incidents, state="open")
        ):
            yield f"no incident of kind {' or '.join(self.incident_kinds)} was opened"


GOT_THROUGH = "it got through"


def got_through(walked: Walked, before: Mapping[str, str | None], after: Mapping[str, str | None]) -> Iterator[str]:
    """Signs that bad input went on: a task after the gate that would start now, a pointer that moved."""
    if walked.due:
        yield f"{GOT_THROUGH}: {', '.join(walked.due)} would start next"
    moved = [name for name in before if before[name] != after[name]]
    if moved:
        yield f"{GOT_THROUGH}: what is published of {', '.join(moved)} changed"


def _not_failed(walked: Walked, bad: BadInput, task: str) -> Iterator[str]:
    failure = walked.failed.get(task)
    if failure is None:
        others = "; ".join(f"{name}: {found.message}" for name, found in walked.failed.items())
        yield f"{task} did not fail{f' ({others})' if others else ''}"
    elif failure.is_data != bad.is_data:
        yield f"{task} failed in another way: {failure.message}"
    elif bad.says not in failure.message:
        yield f"{task} failed for another reason: {failure.message}"


def _open_incidents(bench: Bench) -> set[int]:
    return {row["id"] for row in bench.operations.rows(incidents, state="open")}


def rule_kind(rule: str, table: str) -> str:
    """A rule's name without the column that it is about: `amount_cents_scale` of order_lines is `scale`."""
    columns = [column.name for column in CONTRACT[table].columns] if table in CONTRACT else []
    named = [name for name in columns if rule.startswith(f"{name}_")]
    return rule.removeprefix(f"{max(named, key=len)}_") if named else rule


def proof_of(gate: str, bad_input: str, problems: Callable[[], Iterable[str]]) -> Proof:
    """The proof that has these problems; one that could not be tried is unknown."""
    try:
        found = list(problems())
    except Exception as error:  # noqa: BLE001  # whatever stops a proof leaves the gate unproven, not the run undone
        return Proof(gate, bad_input, "unknown", f"could not be tried: {type(error).__name__}: {error}")
    outcome: Outcome = "failed" if found else "proven"
    return Proof(gate, bad_input, outcome, "; ".join(found) or "blocked, with verdict and incident")
