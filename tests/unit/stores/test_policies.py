"""Policies' states, lists and what a day has used up, in the operational record."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
from sqlalchemy.exc import IntegrityError

from ml.outcomes import DataFailed, ToolFailed
from ml.stores import policies
from ml.stores.fraud_tables import decisions
from ml.stores.fraud_tables import policies as table
from ml.stores.operations import Operations

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


@pytest.fixture
def operations(configure):
    return Operations.from_settings(configure())


def _submit(operations, version, to=()):
    policies.submit_policy(operations, version=version, body="name: x", by="ada")
    for state in to:
        policies.change_state(operations, version=version, to=state, reason="why", by="ada")


def _states(operations):
    return {row["version"]: row["state"] for row in policies.stored_policies(operations)}


def test_a_policy_goes_through_shadow_and_takes_the_active_ones_place(operations):
    _submit(operations, "a-1", ["shadow", "active"])
    _submit(operations, "b-1", ["shadow"])
    assert policies.change_state(operations, version="b-1", to="active", reason="better", by="fin") == "shadow"
    assert _states(operations) == {"a-1": "retired", "b-1": "active"}
    assert policies.change_state(operations, version="a-1", to="active", reason="back", by="fin") == "retired"
    assert _states(operations) == {"a-1": "active", "b-1": "retired"}
    trail = [(one["version"], one["from_state"], one["to_state"]) for one in policies.policy_history(operations)]
    assert trail[-2:] == [("b-1", "active", "retired"), ("a-1", "retired", "active")]
    assert policies.policy_history(operations)[-1]["changed_by"] == "fin"
    assert [row["version"] for row in policies.stored_policies(operations, "active")] == ["a-1"]


@pytest.mark.parametrize(
    ("start", "to"), [([], "active"), (["shadow", "active"], "shadow"), (["shadow", "active"], "retired")]
)
def test_other_ways_are_refused(operations, start, to):
    _submit(operations, "a-1", start)
    with pytest.raises(DataFailed, match="from there it can become"):
        policies.change_state(operations, version="a-1", to=to, reason="why", by="ada")


def test_an_unknown_version_is_refused(operations):
    with pytest.raises(DataFailed, match="no policy has the version"):
        policies.change_state(operations, version="x-1", to="shadow", reason="why", by="ada")


def test_the_same_again_changes_nothing(operations):
    _submit(operations, "a-1", ["shadow"])
    assert not policies.submit_policy(operations, version="a-1", body="name: x", by="bob")
    before = len(policies.policy_history(operations))
    assert policies.change_state(operations, version="a-1", to="shadow", reason="again", by="bob") == "shadow"
    assert len(policies.policy_history(operations)) == before


def test_only_one_can_be_active_however_they_are_written(operations):
    _submit(operations, "a-1", ["shadow", "active"])
    with pytest.raises(IntegrityError), operations.transaction() as connection:
        connection.execute(
            table.insert().values(version="b-1", body="", state="active", submitted_by="x", submitted_at=NOW)
        )


def test_two_promotions_at_once_leave_one_active(operations):
    for name in ("a", "b", "c", "d"):
        _submit(operations, f"{name}-1", ["shadow"])

    def promote(version):
        try:
            return policies.change_state(operations, version=version, to="active", reason="race", by=version)
        except ToolFailed:
            return "lost"

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(promote, ["a-1", "b-1", "c-1", "d-1"]))
    assert found.count("shadow") >= 1
    assert list(_states(operations).values()).count("active") == 1


def test_a_list_entry_is_replaced_removed_and_kept_on_record(operations):
    entry = {"list_name": "block", "entity": "device", "value": "d1", "reason": "seen", "by": "ada"}
    first = policies.add_list_entry(operations, **entry, expires_at=None)
    second = policies.add_list_entry(operations, **entry, expires_at=NOW)
    assert [(row["id"], row["expires_at"]) for row in policies.stored_list_entries(operations)] == [(second, NOW)]
    assert policies.remove_list_entry(operations, number=second, by="bob")
    assert not policies.remove_list_entry(operations, number=second, by="bob")
    assert policies.stored_list_entries(operations) == []
    kept = policies.stored_list_entries(operations, removed_too=True)
    assert [(row["id"], row["removed_by"]) for row in kept] == [(first, "ada"), (second, "bob")]


def test_hits_are_kept_once_and_read_back_over_the_longest_window(operations):
    hits = pd.DataFrame(
        {
            "rule": ["r", "r"],
            "policy_version": ["a-1", "a-1"],
            "order_id": ["o1", "o2"],
            "ordered_at": [pd.Timestamp(NOW) - pd.Timedelta(days=40), pd.Timestamp(NOW)],
            "action": ["decline", "decline"],
            "is_capped": [False, True],
        }
    )
    assert policies.record_rule_hits(operations, hits) == 2
    assert policies.record_rule_hits(operations, hits) == 0
    assert policies.record_rule_hits(operations, hits.iloc[:0]) == 0
    found = policies.past_hits(operations, NOW, NOW)
    assert found[["order_id", "is_capped"]].to_dict("records") == [{"order_id": "o2", "is_capped": True}]
    assert policies.past_hits(operations, NOW, NOW - dt.timedelta(hours=1)).empty


def test_what_decided_orders_have_used_up(operations):
    def row(order, day, action, source="model", would_decline=False):
        return {
            "decision_id": order, "order_id": order, "partition": day, "ordered_at": NOW, "decided_at": NOW,
            "amount_cents": 500, "action": action, "source": source, "would_decline": would_decline,
            "propensity": 1.0, "policy_version": "a-1", "expected_costs": {}, "reasons": [], "rule_trace": [],
            "contributions": {}, "recorded_at": NOW,
        }  # fmt: skip

    rows = [
        row("o1", "2026-03-02", "review"),
        row("o2", "2026-03-02", "review", would_decline=True),
        row("o3", "2026-03-02", "decline", would_decline=True),
        row("o4", "2026-03-02", "approve", "standin"),
        row("o5", "2026-03-02", "approve", "standin"),
        row("o6", "2026-03-02", "review", "standin"),
        row("o7", "2026-03-03", "review"),
    ]
    with operations.transaction() as connection:
        connection.execute(decisions.insert(), rows)
    use = policies.day_use(operations, [dt.date(2026, 3, 2)])
    day = dt.date(2026, 3, 2)
    assert (use.reviews, use.explored, use.standin_cents) == ({day: 3}, {day: 1}, {day: 1000})
    assert len(policies.past_order_times(operations, NOW, NOW)) == 7
