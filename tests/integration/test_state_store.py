"""The log of events and the state store: what is acknowledged is kept, each event counts once, nothing half is read."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ml.cli.fraud.events import apply_waiting, begin_if_needed, follow_log, post_events
from ml.fraud.declaration import declaration
from ml.fraud.events import OrderEvent, parse_event
from ml.fraud.online_state import features_of
from ml.fraud.state_records import state_digest
from ml.outcomes import ToolFailed
from ml.settings import Settings, SettingsError
from ml.stores.durable import exclusive_lock_if_free
from ml.stores.event_log import EventLog, LogUnavailable
from ml.stores.state_store import Position, StateConflict, StateStore, StateUnavailable, open_state_store
from tests.kill_points import Case, KillPoint, run_cases
from tests.private_redis import PrivateRedis, private_redis

NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)
BEGUN = Position(applied=0, needed=0, built_by="this", log_id="log")
HERE = "tests.integration.test_state_store"
KILLED = 9
ORDERS = 30
BATCH = 7
ASKED = {"customer_id": "c1", "device_hash": "d1", "instrument_hash": "i1"}


@pytest.fixture(scope="module")
def redis(server_binary_of_module: Callable[[str], Path]) -> Iterator[PrivateRedis]:
    with private_redis(server_binary_of_module) as server:
        yield server


@pytest.fixture(scope="module")
def server_binary_of_module() -> Callable[[str], Path]:
    from tests.conftest import find_binary

    return find_binary


@pytest.fixture(params=["sqlite", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "sqlite":
        return of_shop(tmp_path)
    server: PrivateRedis = request.getfixturevalue("redis")
    server.client().flushall()
    return of_shop(tmp_path, server.url)


def of_shop(state_dir: Path | str, state_url: str | None = None, shop_id: str = "smallshop") -> Settings:
    return Settings(_env_file=None, state_dir=state_dir, shop_id=shop_id, state_url=state_url)


def state_of(settings: Settings, *, is_writer: bool = True) -> StateStore:
    return open_state_store(settings, state_digest(declaration()), is_writer=is_writer)


def payment(number: int) -> str:
    event = {"type": "payment", "payment_id": f"p{number}", "order_id": f"o{number:03}", **ASKED}
    at = (NOON + timedelta(minutes=number)).isoformat()
    return json.dumps(event | {"attempted_at": at, "amount_cents": 100, "currency": "USD", "outcome": "approved"})


def label(number: int) -> str:
    event = {"type": "label", "label_id": f"l{number}", "order_id": f"o{number:03}", "is_fraud": True}
    return json.dumps(event | {"known_at": (NOON + timedelta(hours=2)).isoformat(), "label_source": "chargeback"})


def events() -> list[str]:
    """30 orders of one customer, 5 of them fraud; a fifth of all events twice."""
    lines = [*(payment(number) for number in range(ORDERS)), *(label(number) for number in range(5))]
    return [*lines, *lines[::5]]


def asked() -> OrderEvent:
    event = parse_event(payment(ORDERS * 10), None, "USD")
    assert isinstance(event, OrderEvent)
    return event


def counts(settings: Settings) -> tuple[object, ...]:
    features = features_of(state_of(settings), asked(), declaration())
    return tuple(features[f"{name}_customer_ever"] for name in ("count_orders", "count_frauds"))


def follow_once(settings: Settings) -> int:
    return follow_log(settings, stops=threading.Event(), is_once=True)


def test_a_commit_writes_all_of_its_records_and_the_position(settings: Settings) -> None:
    store = open_state_store(settings, "this")
    store.begin(BEGUN)
    first = Position(3, 0, "this", "log")
    store.commit({"a": b"1", "b": b"2"}, first, after=BEGUN)
    assert store.read(["a", "b", "c"]) == {"a": b"1", "b": b"2"}
    second = Position(5, 0, "this", "log")
    store.commit({"a": None, "b": b"3"}, second, after=first)
    assert store.read(["a", "b"]) == {"b": b"3"}
    assert store.position() == second
    store.begin(BEGUN)
    assert store.read(["b"]) == {}


def test_who_comes_second_writes_nothing(settings: Settings) -> None:
    store, other = open_state_store(settings, "this"), open_state_store(settings, "this")
    store.begin(BEGUN)
    store.commit({"a": b"1"}, Position(3, 0, "this", "log"), after=BEGUN)
    with pytest.raises(StateConflict):
        other.commit({"a": b"twice"}, Position(3, 0, "this", "log"), after=BEGUN)
    assert store.read(["a"]) == {"a": b"1"}


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (None, "is not there"),
        (Position(9, 0, "other", "log"), "another declaration"),
        (Position(3, 4, "this", "log"), "not caught up"),
    ],
)
def test_a_state_that_holds_less_than_it_should_is_not_read(
    settings: Settings, position: Position | None, reason: str
) -> None:
    store = open_state_store(settings, "this")
    if position is not None:
        store.begin(position)
    with pytest.raises(StateUnavailable, match=reason):
        store.read(["a"])


def test_each_event_counts_once(settings: Settings) -> None:
    posted = post_events(settings, events(), None)
    assert posted.taken == len(events())
    assert follow_once(settings) == len(events())
    assert follow_once(settings) == 0
    assert counts(settings) == (ORDERS, 5)


def test_refused_events_are_told_by_line_and_rule_and_never_by_value(settings: Settings) -> None:
    now = NOON + timedelta(days=1)
    future = payment(1).replace("2024-", "2034-")
    bad = [future, payment(2).replace("100", "-100"), payment(3).replace("100", "1e400"), '{"secret": 1}', "[", "NaN"]
    posted = post_events(settings, [*bad, payment(4)], now)
    assert posted.taken == 1
    told = dict(posted.refused)
    assert [told[line].split(":")[-1].split()[0] for line in range(1, 7)] == [
        "event_time_out_of_range",
        "negative",
        "not_finite",
        "not_allowed",
        "not_json",
        "not_finite",
    ]
    assert not any(value in text for text in told.values() for value in ("2034", "-100", "secret", "c1"))


def test_an_event_that_cannot_be_read_is_set_aside_and_holds_nothing_up(settings: Settings) -> None:
    log = EventLog.from_settings(settings)
    log.append(['{"type": "of an older version"}', payment(1)])
    follow_once(settings)
    assert counts(settings) == (1, 0)
    assert log.count_set_aside() == 1


def test_a_state_of_another_log_is_refused_until_it_is_built_anew(settings: Settings, tmp_path: Path) -> None:
    post_events(settings, events(), None)
    follow_once(settings)
    for path in (settings.shop_dir / "fraud").glob("events.db*"):
        path.unlink()
    post_events(settings, [payment(1)], None)
    with pytest.raises(ToolFailed, match="another log"):
        follow_once(settings)
    follow_log(settings, stops=threading.Event(), is_once=True, is_rebuild=True)
    assert counts(settings) == (1, 0)


def test_two_followers_do_not_work_at_once(settings: Settings) -> None:
    post_events(settings, events(), None)
    with exclusive_lock_if_free(settings.shop_dir / "fraud" / "follow.lock") as is_held:
        assert is_held
        with pytest.raises(ToolFailed, match="another"):
            follow_once(settings)
    assert follow_once(settings) == len(events())


def test_a_url_of_an_unknown_kind_is_refused_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"SHOPWRIGHT_STATE_URL.*redis://") as refused:
        open_state_store(of_shop(tmp_path, "mongodb://user:secret@host"), "this")
    assert "secret" not in str(refused.value)


def test_events_are_not_acknowledged_when_the_log_has_no_room(tmp_path: Path) -> None:
    folder = tmp_path / "smallshop" / "fraud"
    folder.mkdir(parents=True)
    (folder / "events.db").mkdir()
    with pytest.raises(LogUnavailable):
        post_events(of_shop(tmp_path), [payment(1)], None)


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
    with self._transaction("immediate") as connection:
        records = [(key, record) for key, record in updates.items() if record is not None]
        connection.executemany("insert or replace into state (key, record) values (?, ?)", records)
    raw = position.encode()
    with self._transaction("immediate") as connection:
        connection.execute("insert or replace into state (key, record) values ('position', ?)", (raw,))


def commit_position_first(self: Any, updates: Any, position: Position, after: Position) -> None:
    """The same the other way round."""
    with self._transaction("immediate") as connection:
        row = ("position", position.encode())
        connection.execute("insert or replace into state (key, record) values (?, ?)", row)
    position.encode()
    with self._transaction("immediate") as connection:
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
        assert counts(of_shop(**case.arguments)) == (ORDERS, 5), point


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
    assert counts(of_shop(**cases[0].arguments)) == (ORDERS, 5)
    assert counts(of_shop(**cases[2].arguments)) != (ORDERS, 5)


def test_a_poster_killed_at_any_moment_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    append = "ml.stores.event_log:EventLog.append"
    inside = "ml.stores.event_log:EventLog._end"
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
        kept = [logged.body for logged in EventLog.from_settings(of_shop(folder)).read_after(0, 1000)]
        assert kept[:acknowledged] == events()[:acknowledged], point
        assert len(kept) in (acknowledged, acknowledged + 5), point


def begun(redis: PrivateRedis, tmp_path: Path) -> Settings:
    redis.client().flushall()
    settings = of_shop(tmp_path, redis.url)
    post_events(settings, events(), None)
    follow_once(settings)
    return settings


def test_a_frozen_redis_is_given_up_at_once_and_is_read_again_after(redis: PrivateRedis, tmp_path: Path) -> None:
    settings = begun(redis, tmp_path)
    reader = state_of(settings, is_writer=False)
    redis.freeze()
    try:
        with pytest.raises(StateUnavailable, match="Timeout"):
            features_of(reader, asked(), declaration())
    finally:
        redis.thaw()
    assert features_of(reader, asked(), declaration())["count_orders_customer_ever"] == ORDERS


def test_a_flushed_redis_is_not_read_as_a_shop_without_orders_and_is_built_anew(
    redis: PrivateRedis, tmp_path: Path
) -> None:
    settings = begun(redis, tmp_path)
    redis.client().flushall()
    with pytest.raises(StateUnavailable, match="not there"):
        counts(settings)
    # While it is built anew it is not read either.
    log, state = EventLog.from_settings(settings), state_of(settings)
    begin_if_needed(log, state)
    with pytest.raises(StateUnavailable, match="not caught up"):
        counts(settings)
    follow_once(settings)
    assert counts(settings) == (ORDERS, 5)


def test_a_redis_that_was_killed_is_waited_for_and_filled_again(redis: PrivateRedis, tmp_path: Path) -> None:
    settings, stops = begun(redis, tmp_path), threading.Event()
    follower = threading.Thread(target=follow_log, args=(settings,), kwargs={"stops": stops, "is_once": False})
    follower.start()
    try:
        redis.kill()
        post_events(settings, [payment(ORDERS)], None)
        with pytest.raises(StateUnavailable):
            counts(settings)
        redis.start()
        reached = threading.Event()
        for _ in range(300):
            try:
                if counts(settings) == (ORDERS + 1, 5):
                    break
            except StateUnavailable:
                pass
            reached.wait(0.1)
        assert counts(settings) == (ORDERS + 1, 5)
    finally:
        stops.set()
        follower.join()


def test_a_full_redis_takes_nothing_half(redis: PrivateRedis, tmp_path: Path) -> None:
    settings = begun(redis, tmp_path)
    post_events(settings, [payment(ORDERS)], None)
    client, log, state = redis.client(), EventLog.from_settings(settings), state_of(settings)
    position = state.position()
    assert position is not None
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StateUnavailable):
            apply_waiting(settings, log, state, position)
        assert state.position() == position
        assert counts(settings) == (ORDERS, 5)
    finally:
        client.config_set("maxmemory", 0)
    apply_waiting(settings, log, state, position)
    assert counts(settings) == (ORDERS + 1, 5)
