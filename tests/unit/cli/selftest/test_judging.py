"""When a gate counts as proven, on walks made by hand: each sign that it does not block fails the proof."""

from contextlib import contextmanager, nullcontext

import pytest

from ml.cli.selftest.judging import BlockingGate, rule_kind
from ml.cli.selftest.proofs import SWITCHED_OFF, BadInput, Failure, Walked

TASK, NEXT = "shop_ingest.gate_arrivals", "warehouse_build.build_models"
BLOCKED = Walked((), {TASK: Failure(True, "orders: null_share")}, ())
THROUGH = Walked((TASK,), {}, (NEXT,))


class Bench:
    """A bench that holds what a walk leaves."""

    def __init__(self) -> None:
        self.versions = {"raw": "v1", "champion": None}
        self.stored: list[dict] = []

    def keep(self) -> None: ...

    def reset(self) -> None:
        self.versions, self.stored = {"raw": "v1", "champion": None}, []

    def published(self) -> dict:
        return dict(self.versions)

    @property
    def operations(self):
        return self

    def rows(self, table, **_equal):
        return [row for row in self.stored if row["table"] == table.name]

    def tell(self, rule="null_share", status="failed", kind="gate_failed"):
        self.stored += [
            {
                "table": "gate_verdicts",
                "object": "orders",
                "status": status,
                "rules": [{"rule": rule, "status": status}],
            },
            {"table": "incidents", "id": 1, "kind": kind},
        ]


def prove(walked=BLOCKED, leaves=lambda bench: bench.tell(), bad=None, is_off=False):
    """The proof, and the one with the gate switched off."""
    state = {"off": False}

    @contextmanager
    def off(_bench):
        state["off"] = True
        yield
        state["off"] = False

    bench = Bench()

    def walk(first, until, key, params=None):
        if state["off"] and is_off:
            return THROUGH
        leaves(bench)
        return walked

    bad = bad or BadInput("x", "null_share", lambda _bench: None)
    gate = BlockingGate("arrivals", TASK, "loaded", "shop_ingest.land_days", (bad,), off, "arrivals", ("gate_failed",))
    return gate.prove(bench, walk)


def test_a_gate_that_blocks_tells_and_is_missed_when_switched_off_is_proven():
    proof, switched = prove(is_off=True)
    assert (proof.outcome, switched.outcome) == ("proven", "proven")
    assert switched.bad_input == f"{SWITCHED_OFF}x"


def test_a_gate_whose_switch_changes_nothing_is_not_proven():
    proof, switched = prove(is_off=False)
    assert (proof.outcome, switched.outcome) == ("proven", "failed")
    assert "did not get through" in switched.detail


def _moves(bench):
    bench.tell()
    bench.versions["raw"] = "v2"


@pytest.mark.parametrize(
    ("walked", "leaves", "said"),
    [
        (THROUGH, lambda bench: bench.tell(), f"{NEXT} would start next"),
        (Walked((), BLOCKED.failed, (NEXT,)), lambda bench: bench.tell(), f"{NEXT} would start next"),
        (BLOCKED, _moves, "what is published of raw changed"),
        (Walked((TASK,), {}, ()), lambda bench: bench.tell(), "did not fail"),
        (
            Walked((), {TASK: Failure(False, "OSError")}, ()),
            lambda bench: bench.tell(),
            "failed in another way: OSError",
        ),
        (BLOCKED, lambda _bench: None, "no verdict names null_share"),
        (BLOCKED, lambda bench: bench.tell(rule="row_count"), "broken are row_count"),
        (BLOCKED, lambda bench: bench.tell(status="passed"), "no verdict names null_share"),
        (BLOCKED, lambda bench: bench.tell(kind="drift"), "no incident of kind gate_failed"),
    ],
)
def test_a_gate_is_not_proven_when_one_sign_is_wrong(walked, leaves, said):
    proof = prove(walked, leaves, is_off=True)[0]
    assert proof.outcome == "failed"
    assert said in proof.detail


def test_a_gate_that_fails_for_another_reason_is_not_proven():
    bad = BadInput("x", "null_share", lambda _bench: None, says="something else")
    assert "failed for another reason" in prove(bad=bad, is_off=True)[0].detail


def test_bad_input_that_cannot_be_planted_leaves_the_gate_unknown():
    def plant(_bench):
        raise OSError("no space")

    proof, switched = prove(bad=BadInput("x", "null_share", plant), is_off=True)
    assert (proof.outcome, switched.outcome) == ("unknown", "unknown")
    assert proof.detail == "could not be tried: OSError: no space"


@pytest.mark.parametrize(
    ("rule", "table", "kind"),
    [
        ("amount_cents_scale", "order_lines", "scale"),
        ("event_time_in_future", "order_lines", "event_time_in_future"),
        ("row_count", "orders", "row_count"),
        ("amount_cents_scale", "no contract table", "amount_cents_scale"),
    ],
)
def test_a_kind_of_rule_is_its_name_without_the_column(rule, table, kind):
    assert rule_kind(rule, table) == kind


def test_inputs_that_are_fed_together_are_each_judged_by_what_the_failure_says_of_them():
    planted, walks = [], []
    inputs = tuple(
        BadInput(name, "null_share", lambda _bench, name=name: planted.append(name), says=name, together=group)
        for name, group in (("null", ""), ("share", "pair"), ("elsewhere", "pair"))
    )
    bench = Bench()

    def walk(first, until, key, params=None):
        walks.append(list(planted))
        planted.clear()
        bench.tell()
        return BLOCKED

    gate = BlockingGate("arrivals", TASK, "loaded", TASK, inputs, nullcontext, "arrivals", ("gate_failed",))
    null, share, elsewhere, _switched = gate.prove(bench, walk)
    assert walks == [["null"], ["share", "elsewhere"], ["null"]]
    assert (null.outcome, share.outcome, elsewhere.outcome) == ("proven", "proven", "failed")
    assert "failed for another reason" in elsewhere.detail
