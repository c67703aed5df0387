"""The promotion rules: a challenger that is not better must not become champion. Its task is green either way."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pandas as pd

from ml.cli import promotion as decision
from ml.cli.promotion import challenge_path
from ml.cli.recommender.inputs import PRODUCT
from ml.cli.selftest import model_inputs
from ml.cli.selftest.bench import HISTORY_END, Bench
from ml.cli.selftest.judging import GOT_THROUGH, proof_of
from ml.cli.selftest.model_inputs import GATE as INPUT_GATE
from ml.cli.selftest.model_inputs import WEEK, changed_rows
from ml.cli.selftest.proofs import SWITCHED_OFF, Proof, Walk
from ml.cli.selftest.stages import must_pass
from ml.outcomes import ToolFailed
from ml.stores import registry
from ml.stores.operations import incidents, promotions

TASK, TRAIN = "recommender_train.decide_promotion", "recommender_train.train_challenger"

Measured = dict[str, Any]


@dataclass(frozen=True)
class BadChallenger:
    """One challenger that must not be promoted.

    Attributes:
        rule: The promotion rule that has to refuse it; empty where it does not matter which one does.
        plant: Makes the challenge that is decided.
        start: First task to run.
    """

    name: str
    rule: str
    plant: Callable[[Bench], None]
    start: str = TASK


def _learns_noise(bench: Bench) -> None:
    """What was bought is dealt out anew among the rows that are learnt from."""

    def shuffled(rows: pd.DataFrame) -> pd.DataFrame:
        labels = rows["label"].sample(frac=1, random_state=1).to_numpy()
        return rows.assign(label=labels)

    changed_rows(shuffled)(bench)


def _measured(change: Callable[[Measured], Mapping[str, object]]) -> Callable[[Bench], None]:
    """A challenge that passes every rule, but for what is changed."""

    def plant(bench: Bench) -> None:
        path = challenge_path(bench.settings, PRODUCT, HISTORY_END)
        challenge = json.loads(path.read_bytes())
        good = _passing(challenge["measured"])
        path.write_text(json.dumps({**challenge, "measured": {**good, **change(good)}}))

    return plant


def _passing(measured: Measured) -> Measured:
    gain = {**measured["ndcg_gain"], "mean": 0.2, "low": 0.1, "high": 0.3}
    return {
        **measured,
        "customers": 150,
        "ndcg_gain": gain,
        "ndcg_gain_over_best_baseline": gain,
        "recall_gain": gain,
        "coverage": 0.5,
        "opponent_coverage": 0.5,
        "leaves": 100,
        "explanation_ms": 1.0,
        "gap_growth": {"age_band": 0.0},
    }


def _low(name: str) -> Callable[[Measured], Mapping[str, object]]:
    return lambda good: {name: {**good[name], "low": -0.05}}


def _rolled_back(bench: Bench) -> None:
    """A good challenger that an operator took back before."""
    _measured(lambda _good: {})(bench)
    challenge = json.loads(challenge_path(bench.settings, PRODUCT, HISTORY_END).read_bytes())
    registry.promote(bench.settings, PRODUCT, challenge["challenger"], HISTORY_END)
    registry.rollback(bench.settings, PRODUCT)


BAD_CHALLENGERS = (
    BadChallenger("a loss against the champion", "ndcg_at_10_gain_low", _measured(_low("ndcg_gain"))),
    BadChallenger("a model that learnt from noise", "", _learns_noise, start=INPUT_GATE),
    BadChallenger(
        "no gain over the best baseline",
        "ndcg_at_10_gain_low_over_best_baseline",
        _measured(_low("ndcg_gain_over_best_baseline")),
    ),
    BadChallenger("a loss of recall", "recall_at_10_gain_low", _measured(_low("recall_gain"))),
    BadChallenger("few products shown", "coverage_over_champion", _measured(lambda _good: {"coverage": 0.1})),
    BadChallenger("a model too large to explain", "model_leaves", _measured(lambda _good: {"leaves": 10**6})),
    BadChallenger("a model too slow to explain", "explanation_ms", _measured(lambda _good: {"explanation_ms": 30.0})),
    BadChallenger(
        "a wider gap between groups",
        "ndcg_at_10_gap_growth",
        _measured(lambda _good: {"gap_growth": {"age_band": 0.5}}),
    ),
    BadChallenger("too few customers to tell", "judged_customers", _measured(lambda _good: {"customers": 3})),
    BadChallenger("a model that was rolled back", "rolled_back_before", _rolled_back),
)


@dataclass(frozen=True)
class PromotionGate:
    """The champion is what has to stay: nothing waits for this gate's task."""

    gate: str = "promotion"
    task: str = TASK
    stage: str = "published"

    @property
    def rules(self) -> Mapping[str, str]:
        return {bad.name: bad.rule for bad in BAD_CHALLENGERS}

    @property
    def switched(self) -> tuple[str, ...]:
        return (BAD_CHALLENGERS[0].name,)

    def prove(self, bench: Bench, walk: Walk) -> list[Proof]:
        _prepare(bench, walk)
        bench.keep()
        proofs = [
            proof_of(self.gate, bad.name, lambda bad=bad: self._problems(bench, walk, bad))  # type: ignore[misc]
            for bad in BAD_CHALLENGERS
        ]
        bad = BAD_CHALLENGERS[0]
        return [*proofs, proof_of(self.gate, f"{SWITCHED_OFF}{bad.name}", lambda: self._unnoticed(bench, walk, bad))]

    def _problems(
        self,
        bench: Bench,
        walk: Walk,
        bad: BadChallenger,
        switch: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> Iterator[str]:
        bench.reset()
        bad.plant(bench)
        before, known = bench.published()["champion"], len(bench.operations.rows(promotions))
        with switch():
            must_pass(walk, bad.start, TASK, WEEK)
        after = bench.published()["champion"]
        if after != before:
            yield f"{GOT_THROUGH}: {after} became champion"
        decided = bench.operations.rows(promotions)[known:]
        if not decided or decided[-1]["verdict"] not in ("refused", "unknown"):
            yield "no verdict refuses it"
        else:
            bad_rules = [rule["rule"] for rule in decided[-1]["rules"] if rule["status"] != "passed"]
            if not any(rule.startswith(bad.rule) for rule in bad_rules):
                yield f"the verdict does not name {bad.rule}; it names {', '.join(bad_rules) or 'none'}"
        if not bench.operations.rows(incidents, state="open", kind="promotion_refused"):
            yield "no incident of kind promotion_refused was opened"

    def _unnoticed(self, bench: Bench, walk: Walk, bad: BadChallenger) -> Iterator[str]:
        found = list(self._problems(bench, walk, bad, _switched_off))
        if not any(problem.startswith(GOT_THROUGH) for problem in found):
            yield f"with the gate switched off the challenger was not promoted: {'; '.join(found) or 'refused'}"


def _switched_off() -> AbstractContextManager[object]:
    """Whatever the rules say, the verdict is to promote."""
    return patch.object(decision, "verdict", lambda _rules: "promoted")


def _prepare(bench: Bench, walk: Walk) -> None:
    """A ranker has challenged the first champion, a baseline, and waits for the decision."""
    model_inputs.prepare(bench, walk)
    must_pass(walk, INPUT_GATE, TRAIN, WEEK)
    challenge = json.loads(challenge_path(bench.settings, PRODUCT, HISTORY_END).read_bytes())
    if challenge["first_champion"] is None:
        raise ToolFailed("the first training names no first champion, so that there is nobody to challenge")
    registry.promote(bench.settings, PRODUCT, challenge["first_champion"], HISTORY_END)
