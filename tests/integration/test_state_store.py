"""The log of events and the state store: each event counts once, and nothing half is read."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from ml.cli.fraud.events import apply_waiting, begin_if_needed, follow, follow_log, history, post, post_events
from ml.fraud.declaration import declaration
from ml.fraud.events import TEXT_COLUMNS
from ml.fraud.online_state import features_of
from ml.fraud.state_updates import apply_events
from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings, SettingsError
from ml.stores.durable import exclusive_lock_if_free
from ml.stores.serving_log import Entry, LogUnavailable, ServingLog
from ml.stores.state_store import Position, StateConflict, StateUnavailable, open_state_store
from tests.posted_events import (
    ASKED,
    FRAUDS,
    NOON,
    ORDERS,
    asked,
    counts,
    events,
    follow_once,
    of_shop,
    payment,
    state_of,
)
from tests.private_redis import PrivateRedis

BEGUN = Position(applied=0, needed=0, built_by="this", log_id="log")


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
    assert posted.known == len(events()) - len(set(events()))
    assert follow_once(settings) == len(set(events()))
    assert follow_once(settings) == 0
    assert counts(settings) == (ORDERS, FRAUDS)


def test_refused_events_are_told_by_line_and_rule_and_never_by_value(settings: Settings) -> None:
    now = NOON + timedelta(days=1)
    future = payment(1).replace("2024-", "2034-")
    bad = [future, payment(2).replace("100", "-100"), payment(3).replace("100", "1e400"), '{"secret": 1}', "[", "NaN"]
    posted = post_events(settings, [*bad, payment(4)], now)
    assert posted.taken == 1
    told = dict(posted.refused)
    assert [told[line].split(": ")[-1].split()[0] for line in range(1, 7)] == [
        "event_time_out_of_range",
        "negative",
        "not_finite",
        "not_allowed",
        "not_json",
        "not_finite",
    ]
    assert not any(value in text for text in told.values() for value in ("2034", "-100", "secret", "c1"))


def test_an_event_that_cannot_be_read_is_set_aside_and_holds_nothing_up(settings: Settings) -> None:
    log = ServingLog.from_settings(settings)
    log.append([Entry("payment", "p0", '{"type": "of an older version"}', "0" * 64, NOON)])
    post_events(settings, [payment(1)], None)
    follow_once(settings)
    assert counts(settings) == (1, 0)
    assert log.count_set_aside() == 1


def test_a_state_of_another_log_is_refused_until_it_is_built_anew(settings: Settings, tmp_path: Path) -> None:
    post_events(settings, events(), None)
    follow_once(settings)
    for path in (settings.shop_dir / "serving").glob("log.db*"):
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
    assert follow_once(settings) == len(set(events()))


def test_a_url_of_an_unknown_kind_is_refused_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"SHOPWRIGHT_STATE_URL.*redis://") as refused:
        open_state_store(of_shop(tmp_path, "mongodb://user:secret@host"), "this")
    assert "secret" not in str(refused.value)


def test_a_password_of_the_store_is_in_no_error(tmp_path: Path) -> None:
    store = open_state_store(of_shop(tmp_path, "redis://user:secret@127.0.0.1:1/0"), "this")
    with pytest.raises(StateUnavailable) as refused:
        store.read(["a"])
    assert "secret" not in str(refused.value)


def test_the_log_is_synchronised_before_it_acknowledges(tmp_path: Path) -> None:
    log = ServingLog.from_settings(of_shop(tmp_path))
    with log._file.writing() as connection:
        assert connection.execute("pragma synchronous").fetchone() == (2,)  # FULL: a power cut takes nothing away
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)


def test_events_are_not_acknowledged_when_the_log_has_no_room(tmp_path: Path) -> None:
    folder = tmp_path / "smallshop" / "serving"
    folder.mkdir(parents=True)
    (folder / "log.db").mkdir()
    with pytest.raises(LogUnavailable):
        post_events(of_shop(tmp_path), [payment(1)], None)


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
    log, state = ServingLog.from_settings(settings), state_of(settings)
    begin_if_needed(log, state)
    with pytest.raises(StateUnavailable, match="not caught up"):
        counts(settings)
    follow_once(settings)
    assert counts(settings) == (ORDERS, FRAUDS)


def lose(settings: Settings, redis: PrivateRedis | None) -> None:
    """Flush Redis, or delete the file and what SQLite keeps beside it."""
    if redis is not None:
        redis.client().flushall()
    else:
        for file in (settings.shop_dir / "fraud").glob("state.db*"):
            file.unlink()


@pytest.mark.parametrize("is_after_reading", [False, True])
def test_a_state_that_is_lost_while_events_come_in_is_built_anew(
    settings: Settings,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_after_reading: bool,
) -> None:
    redis: PrivateRedis | None = request.getfixturevalue("redis") if settings.state_url else None
    batches = []

    def apply_and_lose(*arguments: Any) -> Any:
        batches.append(arguments)
        if len(batches) in (2, 5) and not is_after_reading:
            lose(settings, redis)
        updates = apply_events(*arguments)
        if len(batches) in (2, 5) and is_after_reading:
            lose(settings, redis)
        return updates

    monkeypatch.setattr("ml.cli.fraud.events.apply_events", apply_and_lose)
    monkeypatch.setattr("ml.cli.fraud.events.APPLY_BATCH", 8)
    post_events(settings, events(), None)
    assert follow_once(settings) == 8 + 2 * 8 + len(set(events()))  # before it was lost, between the two times, after
    assert counts(settings) == (ORDERS, FRAUDS)
    assert capsys.readouterr().err.count("was lost") == 2


def test_a_state_that_was_set_back_to_a_copy_gets_what_it_misses(settings: Settings) -> None:
    post_events(settings, events(), None)
    log, state = ServingLog.from_settings(settings), state_of(settings)
    copied = begin_if_needed(log, state)
    stops = threading.Event()
    follower = threading.Thread(target=follow_log, args=(settings,), kwargs={"stops": stops, "is_once": False})
    follower.start()
    try:
        assert comes_true(lambda: state.position() == replace(copied, applied=log.end()))
        state.begin(copied)
        assert comes_true(lambda: state.position() == replace(copied, applied=log.end()))
    finally:
        stops.set()
        follower.join()
    assert counts(settings) == (ORDERS, FRAUDS)


def test_a_follower_ends_when_somebody_else_applies_events_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = state_of(settings)

    def apply_after_another(*arguments: Any) -> Any:
        position = other.position()
        assert position is not None
        other.commit({}, replace(position, applied=position.applied + 1), after=position)
        return apply_events(*arguments)

    monkeypatch.setattr("ml.cli.fraud.events.apply_events", apply_after_another)
    post_events(settings, events(), None)
    with pytest.raises(StateConflict):
        follow_once(settings)


def comes_true(condition: Callable[[], bool]) -> bool:
    """Within half a minute."""
    waits = threading.Event()
    return any(condition() or waits.wait(0.1) for _ in range(300))


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
                if counts(settings) == (ORDERS + 1, FRAUDS):
                    break
            except StateUnavailable:
                pass
            reached.wait(0.1)
        assert counts(settings) == (ORDERS + 1, FRAUDS)
    finally:
        stops.set()
        follower.join()


def test_a_full_redis_takes_nothing_half(redis: PrivateRedis, tmp_path: Path) -> None:
    settings = begun(redis, tmp_path)
    post_events(settings, [payment(ORDERS)], None)
    client, log, state = redis.client(), ServingLog.from_settings(settings), state_of(settings)
    position = state.position()
    assert position is not None
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StateUnavailable):
            apply_waiting(settings, log, state, position)
        assert state.position() == position
        assert counts(settings) == (ORDERS, FRAUDS)
    finally:
        client.config_set("maxmemory", 0)
    apply_waiting(settings, log, state, position)
    assert counts(settings) == (ORDERS + 1, FRAUDS)


def test_the_shops_history_is_posted_from_its_marts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, marts = of_shop(tmp_path), duckdb.connect()
    marts.execute("set TimeZone = 'UTC'")
    texts = ", ".join(f"'{ASKED.get(column, 'x')}' as {column}" for column in TEXT_COLUMNS)
    marts.execute(
        f"create table fct_order_payments as select 'o1' as order_id, {texts}, timestamptz '2024-03-10 11:30:00.25Z'"
        " as attempted_at, null::timestamptz as account_created_at, 250 as amount_cents, 'USD' as currency,"
        " 'declined' as first_outcome"
    )
    marts.execute(
        "create table fct_fraud_labels as select 'cb:1' as label_id, 'o1' as order_id, true as is_fraud,"
        " timestamptz '2024-03-10 11:45Z' as known_at, 'chargeback' as label_source"
    )

    class Published:
        def connect(self) -> duckdb.DuckDBPyConnection:
            return marts

    monkeypatch.setattr("ml.stores.warehouse.open_marts", lambda _settings: Published())
    for _ in range(2):  # posted twice it counts once
        assert post_events(settings, history(settings), None).taken == 2
        follow_once(settings)
    features = features_of(state_of(settings), asked(), declaration())
    assert (features["count_orders_device_1d"], features["count_failed_device_1d"]) == (1, 1)
    assert (features["amount_cents_device_1d"], features["count_frauds_device_ever"]) == (250, 1)


def test_the_commands_tell_what_was_taken_and_what_was_refused(configure: Callable[..., Settings]) -> None:
    configure(shop_id="smallshop")
    runner = CliRunner()
    lines = "\n".join([payment(1), "", "{}"])
    posted = runner.invoke(post, [], input=lines)
    assert "1 events taken in" in posted.output
    assert isinstance(posted.exception, DataFailed)
    assert "1 events refused" in str(posted.exception)
    followed = runner.invoke(follow, ["--once"])
    assert (followed.exit_code, followed.output) == (0, "1 events applied\n")
