"""Policies on SQLite and on PostgreSQL: whoever promotes at the same moment, one policy is active."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

from ml.outcomes import ToolFailed
from ml.settings import Settings
from ml.stores import policies
from ml.stores.operations import Operations, metadata

VERSIONS = [f"policy-{number}" for number in range(6)]


@pytest.fixture(params=["sqlite", "postgresql"])
def operations(request: pytest.FixtureRequest, configure: Callable[..., Settings]) -> Iterator[Operations]:
    is_sqlite = request.param == "sqlite"
    settings = configure() if is_sqlite else configure(operations_url=request.getfixturevalue("server_url"))
    operations = Operations.from_settings(settings)
    yield operations
    if not is_sqlite:
        metadata.drop_all(operations.engine)
    operations.engine.dispose()


def test_promotions_at_once_leave_one_active_and_a_trail_that_agrees(operations: Operations) -> None:
    for version in VERSIONS:
        policies.submit_policy(operations, version=version, body="name: x", by="ada")
        policies.change_state(operations, version=version, to="shadow", reason="try", by="ada")

    def promote(version: str) -> str:
        try:
            return policies.change_state(operations, version=version, to="active", reason="race", by=version)
        except ToolFailed:
            return "lost"

    with ThreadPoolExecutor(len(VERSIONS)) as pool:
        found = list(pool.map(promote, VERSIONS))
    states = {row["version"]: row["state"] for row in policies.stored_policies(operations)}
    won = [version for version, before in zip(VERSIONS, found, strict=True) if before == "shadow"]
    assert won
    assert [version for version, state in states.items() if state == "active"] != []
    assert list(states.values()).count("active") == 1
    assert {version for version, state in states.items() if state != "shadow"} == set(won)
    trail = [(one["version"], one["to_state"]) for one in policies.policy_history(operations)]
    assert dict(trail) == states  # the last change of each


def test_hits_and_lists_are_kept_once(operations: Operations) -> None:
    moment = pd.Timestamp("2026-03-02 12:00", tz="UTC")
    hits = pd.DataFrame(
        {
            "rule": ["r"], "policy_version": ["p-1"], "order_id": ["o1"], "ordered_at": [moment], "action": ["decline"],
            "is_capped": [False],
        }
    )  # fmt: skip
    assert [policies.record_rule_hits(operations, hits) for _ in range(2)] == [1, 0]
    (found,) = policies.past_hits(operations, moment, moment).to_dict("records")
    assert pd.Timestamp(found["ordered_at"]) == moment
    for _ in range(2):
        policies.add_list_entry(
            operations, list_name="block", entity="device", value="d", reason="seen", by="ada", expires_at=moment
        )
    (entry,) = policies.stored_list_entries(operations)
    assert entry["expires_at"] == moment
