"""Whoever posts or applies events is killed with -9 at each step: what was acknowledged counts, and counts once."""

import json
from pathlib import Path
from typing import Any

from ml.cli.fraud.events import post_events
from ml.serving.events import canonical_json
from ml.settings import Settings
from ml.stores.serving_log import ServingLog
from ml.stores.state_store import Position
from tests.kill_points import Case, KillPoint, run_cases
from tests.posted_events import FRAUDS, ORDERS, counts, events, follow_once, of_shop

HERE = "tests.integration.test_killed_follower"
KILLED = 9
BATCH = 7


def follow_in_batches(state_dir: str, state_url: str | None, shop_id: str) -> int:
    """A follower of small batches, for processes that are killed."""
    import ml.cli.fraud.events as module

    module.APPLY_BATCH = BATCH
    return follow_once(of_shop(state_dir, state_url, shop_id))


def post_in_batches(state_dir: str, acknowledged: str) -> None:
    """Post five events at a time and note, on disk, what was acknowledged."""
    lines = events()
    with Path(acknowledged).open("a") as file:
        for start in range(0, len(lines), 5):
            post_events(of_shop(state_dir), lines[start : start + 5], None)
            file.write(f"{start + 5}\n")
            file.flush()


def commit_in_two_steps(self: Any, updates: Any, position: Position, after: Position) -> None:
    """What a commit must not be: the position is written for itself. `Position.encode` stands between the two."""
    with self._file.transaction("immediate") as connection:
        records = [(key, record) for key, record in updates.items() if record is not None]
        connection.executemany("insert or replace into state (key, record) values (?, ?)", records)
    raw = position.encode()
    with self._file.transaction("immediate") as connection:
        connection.execute("insert or replace into state (key, record) values ('position', ?)", (raw,))


def commit_position_first(self: Any, updates: Any, position: Position, after: Position) -> None:
    """The same the other way round."""
    with self._file.transaction("immediate") as connection:
        row = ("position", position.encode())
        connection.execute("insert or replace into state (key, record) values (?, ?)", row)
    position.encode()
    with self._file.transaction("immediate") as connection:
        records = [(key, record) for key, record in updates.items() if record is not None]
        connection.executemany("insert or replace into state (key, record) values (?, ?)", records)


def kill_points(of: str) -> list[KillPoint]:
    """Around reading, inside and around commits of a follower; `Position.encode` is called inside a commit."""
    store, records = f"ml.stores.state_store:{of}", "ml.cli.fraud.events:apply_events"
    targets = [records, f"{store}.commit", "ml.stores.state_store:Position.encode", f"{store}.begin"]
    points = [
        KillPoint(target, is_after, nth) for target in targets[:3] for is_after in (False, True) for nth in (2, 4)
    ]
    return [*points, KillPoint(targets[3], False, 1), KillPoint(targets[3], True, 1)]


def killed_and_resumed(settings: Settings, point: KillPoint, number: int, replaced: dict[str, str]) -> list[Case]:
    """In a shop of its own: a follower that is killed, and one that goes on."""
    url = settings.state_url.get_secret_value() if settings.state_url else None
    arguments = {"state_dir": str(settings.state_dir), "state_url": url, "shop_id": f"shop{number}"}
    post_events(of_shop(**arguments), events(), None)
    scenario = f"{HERE}:follow_in_batches"
    return [Case(scenario, arguments, point, replaced=replaced), Case(scenario, arguments, replaced=replaced)]


def test_a_follower_killed_at_any_moment_loses_and_doubles_nothing(settings: Settings) -> None:
    points = kill_points("RedisState" if settings.state_url else "SqliteState")
    cases = [case for number, point in enumerate(points) for case in killed_and_resumed(settings, point, number, {})]
    outcomes = run_cases(cases)
    for point, case, killed, again in zip(points, cases[::2], outcomes[::2], outcomes[1::2], strict=True):
        assert killed.signal == KILLED, f"{point} was not reached"
        assert again.error is None, f"{point}: {again.error}"
        assert counts(of_shop(**case.arguments)) == (ORDERS, FRAUDS), point


def test_the_kills_find_a_commit_that_is_not_one(tmp_path: Path) -> None:
    """Records before the position: an order's own record still prevents that it counts twice. The other way: lost."""
    point = KillPoint("ml.stores.state_store:Position.encode", is_after=True, nth=5)
    commits = [f"{HERE}:commit_in_two_steps", f"{HERE}:commit_position_first"]
    cases = []
    for number, commit in enumerate(commits):
        replaced = {"ml.stores.state_store:SqliteState.commit": commit}
        cases += killed_and_resumed(of_shop(tmp_path), point, number, replaced)
    outcomes = run_cases(cases)
    assert [outcome.signal for outcome in outcomes] == [KILLED, 0, KILLED, 0]
    assert counts(of_shop(**cases[0].arguments)) == (ORDERS, FRAUDS)
    assert counts(of_shop(**cases[2].arguments)) != (ORDERS, FRAUDS)


def test_a_poster_killed_at_any_moment_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    append = "ml.stores.serving_log:ServingLog.append"
    inside = "ml.stores.log_judging:JudgedRequest.judge"
    points = [KillPoint(target, is_after, nth) for target in (append, inside) for is_after in (0, 1) for nth in (1, 4)]
    cases = []
    for number, point in enumerate(points):
        folder = tmp_path / str(number)
        folder.mkdir()
        arguments = {"state_dir": str(folder), "acknowledged": str(folder / "acknowledged")}
        cases.append(Case(f"{HERE}:post_in_batches", arguments, point))
    for number, (point, killed) in enumerate(zip(points, run_cases(cases), strict=True)):
        folder = tmp_path / str(number)
        assert killed.signal == KILLED, point
        told = (folder / "acknowledged").read_text().split()
        acknowledged = int(told[-1]) if told else 0
        kept = [logged.body for logged in ServingLog.from_settings(of_shop(folder)).read_after(0, 1000)]
        assert kept[:acknowledged] == [canonical_json(json.loads(line)) for line in events()[:acknowledged]], point
        assert len(kept) in (acknowledged, acknowledged + 5), point
