"""What one fraud decision costs to compute, on one thread: counted features, inputs and score, decision, explanation.

    python -m benchmarks.bench_decision_compute [--orders 300] [--records benchmarks/results/decision_compute.json]

Processor time of this process (so that a busy machine counts little), the median over orders decided one by one, in
microseconds; of those decided together, each one's share in the median group of a size. Beside it the same orders one
by one through the frames that the batch uses, and the ratio of the two. The model is trained on made-up counts of all
declared features: its size is that of a shop's, its quality is nobody's, and whatever is counted of the attempts is
plausible to it, so that it is the model that decides.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe_run
from ml.fraud.attempt_rows import COUNTED, OWN_COLUMNS, AttemptRows
from ml.fraud.decide import decide
from ml.fraud.declaration import declaration
from ml.fraud.engine import MODEL_STEP, FraudEngine, RuleHistory
from ml.fraud.events import LabelEvent, OrderEvent
from ml.fraud.features import with_derived
from ml.fraud.inputs import Bounds
from ml.fraud.policy_file import default_policy
from ml.fraud.prepared_model import PreparedModel
from ml.fraud.reasons import reason_codes
from ml.fraud.state_updates import apply_events
from tests.unit.fraud.attempts import START, ZONE, as_read, attempt, random_counts, trained

_TRAINED_ON = 6000
_EARLIER = 6000
_PANDAS = 40
_TOGETHER = (2, 4, 8, 16)


class State:
    """Records in memory."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}

    def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        return {key: self.records[key] for key in keys if key in self.records}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--orders", type=int, default=300)
    parser.add_argument("--records", type=Path, default=Path("benchmarks/results/decision_compute.json"))
    options = parser.parse_args()
    found = measure(options.orders)
    options.records.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def measure(count: int) -> dict[str, Any]:
    """All figures; times in microseconds of processor time per order, medians."""
    model, policy = trained(_TRAINED_ON, as_shipped=True), default_policy()
    model = replace(model, bounds=Bounds(np.full(len(model.features), np.inf), 1.0))
    engine = FraudEngine.prepare(model, None, policy, [], 1, ZONE)
    state, attempts = busy_state(count)
    keys = [engine.state_keys([one]) for one in attempts]
    records = [state.read(asked) for asked in keys]
    counted = [engine.counted(held, one) for held, one in zip(records, attempts, strict=True)]
    prepared = PreparedModel(model, OWN_COLUMNS + COUNTED)
    rows = [AttemptRows.read([one], [counts], [None], ZONE) for one, counts in zip(attempts, counted, strict=True)]
    everyone = np.array([True])
    judged = [prepared.says(one, everyone) for one in rows]
    decided = [
        engine.decide([one], [counts], [None], {}, RuleHistory())[0]
        for one, counts in zip(attempts, counted, strict=True)
    ]
    assert {one.step for one in decided} == {MODEL_STEP}, "another step costs less"
    steps = {
        "keys": median(lambda at: engine.state_keys([attempts[at]]), count),
        "counted": median(lambda at: engine.counted(records[at], attempts[at]), count),
        "score_and_contributions": median(lambda at: prepared.says(rows[at], everyone), count),
        "reasons": median(lambda at: judged[at].explained(0, rows[at]), count),
        "decide_with_all_of_it": median(
            lambda at: engine.decide([attempts[at]], [counted[at]], [None], {}, RuleHistory()), count
        ),
    }
    for size in _TOGETHER:
        groups = _groups(attempts, counted, size)
        together = median(partial(_decided_together, engine, groups), len(groups))
        steps[f"decide_{size}_together_each"] = together / size
    steps["counted_and_decide"] = steps["counted"] + steps["decide_with_all_of_it"]
    frames = as_read(attempts[:_PANDAS], random_counts(_PANDAS, 3))

    def through_pandas(at: int) -> None:
        one = frames.iloc[[at]].reset_index(drop=True)
        inputs = with_derived(one)
        decide(one, model.probabilities(inputs), policy, [], None, None, 1)
        reason_codes(inputs, model.contributions(inputs))

    steps["pandas_one_by_one"] = median(through_pandas, _PANDAS)
    return {
        **describe_run(),
        "orders": count,
        "inputs": len(model.features),
        "trees": int(model.report["trees"]),
        "leaves": model.leaves(),
        "records_read_per_order": float(np.median([len(asked) for asked in keys])),
        "approved_share": float(np.mean([one.action == "approve" for one in decided])),
        "median_us": {name: round(value, 1) for name, value in steps.items()},
        "pandas_over_engine": round(steps["pandas_one_by_one"] / steps["decide_with_all_of_it"], 1),
    }


def _groups(attempts: Sequence[Any], counted: Sequence[Any], size: int) -> list[tuple[Sequence[Any], Sequence[Any]]]:
    starts = range(0, len(attempts) - size + 1, size)
    return [(attempts[start : start + size], counted[start : start + size]) for start in starts]


def _decided_together(engine: FraudEngine, groups: Sequence[tuple[Sequence[Any], Sequence[Any]]], at: int) -> None:
    attempts, counted = groups[at]
    engine.decide(attempts, counted, [None] * len(attempts), {}, RuleHistory())


def busy_state(count: int) -> tuple[State, list[Any]]:
    """A state after some weeks of a shop with customers who come back, and attempts that come next."""
    draw, state = np.random.default_rng(2), State()
    minutes = np.sort(draw.uniform(0, 40 * 24 * 60, _EARLIER))
    events: list[OrderEvent | LabelEvent] = [
        _attempt(draw, number, minutes=float(minute), outcome="approved").event for number, minute in enumerate(minutes)
    ]
    for start in range(0, len(events), 500):
        made = apply_events(state, events[start : start + 500], declaration())
        state.records = {key: one for key, one in (state.records | made).items() if one is not None}
    return state, [_attempt(draw, _EARLIER + at, minutes=40 * 24 * 60 + at / 10) for at in range(count)]


def _attempt(draw: np.random.Generator, number: int, *, minutes: float, **more: object) -> Any:
    customer = int(draw.integers(800))
    return attempt(
        number,
        attempted_at=(START + timedelta(minutes=minutes)).isoformat(),
        amount_cents=int(draw.lognormal(8, 0.7)),
        customer_id=f"c{customer}", instrument_hash=f"i{customer}", device_hash=f"d{customer}",
        ip_hash=f"ip{customer // 2}", ip_country="US" if draw.random() < 0.95 else "FR",
        shipping_address_hash=f"h{customer // 2}", billing_address_hash=f"h{customer // 2}",
        email_domain=f"mail{customer % 7}.example", terminal_id=f"t{customer % 10}", **more,
    )  # fmt: skip


def median(call: Callable[[int], object], count: int) -> float:
    """Processor time of a call, microseconds; each order three times, the shortest counts."""
    for at in range(min(count, 20)):
        call(at)
    times = []
    for at in range(count):
        shortest = float("inf")
        for _again in range(3):
            begun = time.process_time_ns()
            call(at)
            shortest = min(shortest, (time.process_time_ns() - begun) / 1000)
        times.append(shortest)
    return float(np.median(times))


if __name__ == "__main__":
    main()
