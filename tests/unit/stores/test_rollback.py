"""Going back to an earlier version of the marts: recorded, done once, and not undone by a retry."""

from collections.abc import Callable
from datetime import date

import pyarrow as pa
import pytest

from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores.operations import Operations, rollbacks
from ml.stores.rollback import plan_rollback, roll_back, rollback_history
from ml.stores.version_history import Fate, kept_versions
from ml.stores.versions import Version, VersionStore
from ml.stores.warehouse import Staged, marts_store, open_marts, publish_staged, write_staged

DAYS = [date(2017, 11, day) for day in (17, 18, 19, 20)]


@pytest.fixture
def settings(configure: Callable[..., Settings]) -> Settings:
    return configure(keep_versions=3)


def publish(settings: Settings, day: date, content: str | None = None) -> Version:
    store = marts_store(settings)
    part = store.write_part("fct_orders", "2017-11", pa.table({"order_id": [content or str(day)]}))
    current = store.current()
    lineage = {"target_day": day.isoformat(), "raw_version": "v000001-a", "fingerprints": {}}
    write_staged(settings, Staged(day, current.id if current else None, (part,), lineage, {}, judged=True))
    return publish_staged(settings, day)


def fates(settings: Settings) -> dict[str, Fate]:
    return {kept.id: kept.fate for kept in kept_versions(marts_store(settings))}


def current_id(settings: Settings) -> str:
    return open_marts(settings).version.id


def test_readers_see_the_version_before_and_the_record_says_who_when_and_why(settings: Settings) -> None:
    first, second = publish(settings, DAYS[0]), publish(settings, DAYS[1])
    done = roll_back(settings, reason="prices are wrong", by="ann")
    assert (done.before, done.after) == (second, first)
    assert open_marts(settings).target_day == DAYS[0]
    assert fates(settings) == {first.id: Fate.CURRENT, second.id: Fate.WITHDRAWN}
    (row,) = rollback_history(settings)
    assert (row["from_version"], row["to_version"]) == (second.id, first.id)
    assert (row["reason"], row["decided_by"]) == ("prices are wrong", "ann")
    assert row["completed_at"] >= row["decided_at"]


def test_a_plan_changes_nothing(settings: Settings) -> None:
    first, second = publish(settings, DAYS[0]), publish(settings, DAYS[1])
    plan = plan_rollback(settings)
    assert (plan.before, plan.after, plan.withdrawn) == (second, first, (second.id,))
    assert current_id(settings) == second.id
    assert rollback_history(settings) == []


def test_going_back_two_versions_withdraws_both(settings: Settings) -> None:
    first, second, third = (publish(settings, day) for day in DAYS[:3])
    roll_back(settings, first.id, reason="r", by="ann")
    assert fates(settings) == {first.id: Fate.CURRENT, second.id: Fate.WITHDRAWN, third.id: Fate.WITHDRAWN}


def test_a_rollback_can_be_taken_back(settings: Settings) -> None:
    first, second = publish(settings, DAYS[0]), publish(settings, DAYS[1])
    roll_back(settings, reason="r", by="ann")
    roll_back(settings, second.id, reason="it was right", by="bob")
    assert fates(settings) == {first.id: Fate.PUBLISHED, second.id: Fate.CURRENT}
    assert [row["decided_by"] for row in rollback_history(settings)] == ["ann", "bob"]


def test_an_aborted_publication_is_no_place_to_go_back_to(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = publish(settings, DAYS[0]), publish(settings, DAYS[1])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(VersionStore, "_point_at", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(settings, DAYS[2])
    (aborted,) = [name for name, fate in fates(settings).items() if fate is Fate.NEVER_CURRENT]
    with pytest.raises(DataFailed, match="never was current"):
        plan_rollback(settings, aborted)
    fourth = publish(settings, DAYS[3])
    assert fourth.parent == second.id
    assert roll_back(settings, reason="r", by="ann").after == second
    assert roll_back(settings, reason="r", by="ann").after == first


def test_a_retry_of_the_publication_does_not_undo_a_rollback(settings: Settings) -> None:
    first, second = publish(settings, DAYS[0]), publish(settings, DAYS[1])
    roll_back(settings, reason="r", by="ann")
    assert publish_staged(settings, DAYS[1]) == first, "the task that runs again finds its work done and moves nothing"
    with pytest.raises(DataFailed, match=f"equals marts {second.id}, which was rolled back"):
        publish(settings, DAYS[1])
    assert current_id(settings) == first.id


def test_the_next_build_goes_on_from_the_version_that_readers_see(settings: Settings) -> None:
    first, second = publish(settings, DAYS[0]), publish(settings, DAYS[1])
    roll_back(settings, reason="r", by="ann")
    third = publish(settings, DAYS[2])
    assert third.parent == first.id
    assert fates(settings) == {first.id: Fate.PUBLISHED, second.id: Fate.WITHDRAWN, third.id: Fate.CURRENT}


def test_from_a_later_version_one_can_return_to_what_was_withdrawn(settings: Settings) -> None:
    first, second = publish(settings, DAYS[0]), publish(settings, DAYS[1])
    roll_back(settings, reason="r", by="ann")
    third = publish(settings, DAYS[2])
    roll_back(settings, second.id, reason="r", by="ann")
    assert fates(settings) == {first.id: Fate.PUBLISHED, second.id: Fate.CURRENT, third.id: Fate.WITHDRAWN}


def test_as_many_versions_as_the_setting_says_are_kept_to_go_back_to(settings: Settings) -> None:
    versions = [publish(settings, day) for day in DAYS]
    assert list(fates(settings)) == [version.id for version in versions[1:]]
    roll_back(settings, versions[1].id, reason="r", by="ann")
    with pytest.raises(DataFailed, match="is not kept"):
        plan_rollback(settings)


def test_nothing_to_go_back_to_is_said(settings: Settings) -> None:
    with pytest.raises(DataFailed, match="no marts are published"):
        plan_rollback(settings)
    publish(settings, DAYS[0])
    with pytest.raises(DataFailed, match="are the first"):
        plan_rollback(settings)
    with pytest.raises(DataFailed, match="v000009-x is not kept"):
        plan_rollback(settings, "v000009-x")


def test_the_current_version_is_nowhere_to_go(settings: Settings) -> None:
    only = publish(settings, DAYS[0])
    assert roll_back(settings, only.id, reason="r", by="ann").is_done
    assert rollback_history(settings) == []


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_rollback_that_was_killed_is_completed_once_by_asking_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, is_moved: bool
) -> None:
    first, _second, _third = (publish(settings, day) for day in DAYS[:3])
    move = VersionStore.point_to

    def killed(*arguments: object, **named: object) -> None:
        if is_moved:
            move(*arguments, **named)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(VersionStore, "point_to", killed)
        with pytest.raises(KeyboardInterrupt):
            roll_back(settings, reason="r", by="ann")
    roll_back(settings, reason="r", by="ann")
    assert open_marts(settings).target_day == DAYS[1], "one version back, not two"
    (row,) = Operations.from_settings(settings).rows(rollbacks)
    assert row["completed_at"] is not None
    assert roll_back(settings, reason="r", by="ann").after == first
