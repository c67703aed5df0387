"""The serving log: each thing once, shared allowances, idempotency keys, and what can be read back."""

import sqlite3
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ml.settings import Settings, wall_clock
from ml.stores.log_entries import microseconds, moment
from ml.stores.serving_log import Entry, LogUnavailable, ProfilingConsent, ServingLog, Spend

NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)
DAY = "2024-03-10"


@pytest.fixture
def log(tmp_path: Path) -> ServingLog:
    return ServingLog(tmp_path / "serving" / "log.db")


def entry(key: str = "a", digest: str = "d1", **changed: Any) -> Entry:
    values = {"kind": "payment", "key": key, "body": f'{{"is":"{digest}"}}', "digest": digest, "event_at": NOON}
    return Entry(**(values | changed))


def statuses(log: ServingLog, *entries: Entry) -> list[str]:
    return [outcome.status for outcome in log.append(entries)]


def test_an_entry_is_taken_once_and_known_after(log: ServingLog) -> None:
    first, second = log.append([entry("a"), entry("b")])
    assert (first.status, first.position, first.body) == ("taken", 1, '{"is":"d1"}')
    assert (second.status, second.position) == ("taken", 2)
    again = log.append([entry("a", body="written otherwise")])[0]
    assert (again.status, again.position, again.body) == ("known", 1, '{"is":"d1"}')
    assert log.end() == 2


def test_another_content_under_a_key_is_a_conflict_that_is_counted_without_its_content(log: ServingLog) -> None:
    log.append([entry("secret-key", "d1")])
    outcome = log.append([entry("secret-key", "d2")])[0]
    assert (outcome.status, outcome.position, outcome.body) == ("conflict", 1, '{"is":"d1"}')
    assert log.conflicts() == {"payment": 1}
    kept = log._file.read("select kind, key_digest from conflicts")
    assert kept == [("payment", sha256(b"secret-key").hexdigest())]
    assert log.find("payment", "secret-key").body == '{"is":"d1"}'


def test_kinds_have_keys_of_their_own(log: ServingLog) -> None:
    assert statuses(log, entry("p1"), entry("p1", "d2", kind="decision")) == ["taken", "taken"]
    assert log.find("decision", "p1").position == 2
    assert log.find("label", "p1") is None


def test_the_same_twice_in_one_request_is_known_the_second_time(log: ServingLog) -> None:
    assert statuses(log, entry("a"), entry("a"), entry("a", "d2")) == ["taken", "known", "conflict"]


def test_requests_that_are_taken_together_are_each_judged_for_themselves(log: ServingLog) -> None:
    log.append([entry("known"), entry("other", "d2")])
    spending = entry("spends", spends=(Spend("reviews", DAY, 1, 0),))
    requests = [
        [entry("new1")],
        [spending],
        [entry("known")],
        [entry("new2"), entry("other")],
        [entry("new1"), entry("new3")],  # what another request of the group brings, too
        [],
        [entry("new4", idempotency_key="till:k1")],
    ]
    told = log.append_requests(requests)
    assert [[outcome.status for outcome in request] for request in told] == [
        ["taken"],
        ["spent"],
        ["known"],
        ["taken", "conflict"],
        ["known", "taken"],
        [],
        ["taken"],
    ]
    for request, outcomes in zip(requests, told, strict=True):
        for one, outcome in zip(request, outcomes, strict=True):
            kept = log.find(one.kind, one.key)
            assert (outcome.position, outcome.body) == ((kept.position, kept.body) if kept else (0, ""))
    assert log.conflicts() == {"payment": 1}


def test_entries_are_read_in_their_order_all_or_by_kind(log: ServingLog) -> None:
    log.append([entry("a"), entry("b", kind="label"), entry("c")])
    assert [(one.position, one.kind, one.key) for one in log.read_after(1, 10)] == [
        (2, "label", "b"),
        (3, "payment", "c"),
    ]
    assert [one.key for one in log.read_after(0, 10, ["payment"])] == ["a", "c"]
    assert [one.key for one in log.read_after(0, 1, ["payment", "label"])] == ["a"]
    assert log.read_after(0, 10, []) == []
    assert log.read_after(3, 10) == []


def test_who_counts_gets_only_what_is_counted(log: ServingLog) -> None:
    attempt = '{"order_id":"o\\u00e9\\"1","amount_cents":1250,"at":1.50,"twice":1,"twice":2,"none":null}'
    bodies = [
        ("payment", '{"is": "whole"}', '{"is": "whole"}'),
        ("decision", f'{{"answer":{{"attempt":1}},"attempt":{attempt},"explained":[]}}', attempt),
        ("order", '{"order_id":"o1"}', ""),
        ("label", "not JSON", "not JSON"),
        ("decision", '{"attempt":', ""),
        ("decision", '{"answer":{}}', ""),
        ("exposure", "{}", ""),
    ]
    log.append([entry(str(number), kind=kind, body=body) for number, (kind, body, _) in enumerate(bodies)])
    told = log.read_counted_after(0, 10)
    assert [(one.position, one.kind, one.body) for one in told] == [
        (position, kind, counted) for position, (kind, _, counted) in enumerate(bodies, 1)
    ]
    assert [one.taken_at for one in told] == [one.taken_at for one in log.read_after(0, 10)]
    assert [one.position for one in log.read_counted_after(2, 3)] == [3, 4, 5]


def test_who_looks_at_attempts_gets_them_with_their_rules_alone(log: ServingLog) -> None:
    attempt, trace = '{"order_id":"o\\u00e9\\"1","amount":1.50}', '[{"rule":"r"}]'
    bodies = [
        ("payment", '{"is": "whole"}', '{"is": "whole"}'),
        ("order", "{}", None),
        ("decision", f'{{"attempt":{attempt},"explained":{{"rule_trace":{trace},"x":1}}}}', f"[{attempt},{trace}]"),
        ("decision", '{"attempt":', '{"attempt":'),
        ("decision", '{"answer":{}}', "[null,null]"),
        ("payment", "not JSON", "not JSON"),
    ]
    log.append([entry(str(number), kind=kind, body=body) for number, (kind, body, _) in enumerate(bodies)])
    expected = [(position, told) for position, (_, _, told) in enumerate(bodies, 1) if told is not None]

    def found(*asked: Any) -> list[tuple[int, str]]:
        return [(one.position, one.body) for one in log.read_attempts_after(*asked)]

    assert found(0, 6, 10, ()) == expected
    assert found(0, 5, 2, {3}) == [expected[0], expected[2]]
    assert found(3, 5, 10, ()) == expected[2:4]
    between = [
        (one.position, one.body)
        for kind in ("payment", "decision")
        for one in log.attempts_between(kind, NOON, NOON + timedelta(hours=1))
    ]
    assert sorted(between) == expected


def spending(key: str, amount: int, limit: int, name: str = "reviews") -> Entry:
    return entry(key, spends=(Spend(name, DAY, amount, limit),))


def test_an_allowance_is_shared_and_nothing_goes_over_it(log: ServingLog) -> None:
    assert statuses(log, spending("a", 3, 5), spending("b", 3, 5), spending("c", 2, 5)) == ["taken", "spent", "taken"]
    assert log.spent(DAY) == {"reviews": 5}
    assert log.spent("2024-03-11") == {}
    refused = log.append([spending("d", 1, 5)])[0]
    assert (refused.status, refused.position, refused.body, refused.spent) == ("spent", 0, "", "reviews")
    assert log.find("payment", "d") is None
    assert statuses(log, spending("d", 1, 6)) == ["taken"]


def test_of_several_allowances_all_or_none_is_spent(log: ServingLog) -> None:
    both = entry("a", spends=(Spend("reviews", DAY, 1, 10), Spend("standin_cents", DAY, 500, 400)))
    assert log.append([both])[0].spent == "standin_cents"
    assert log.spent(DAY) == {}
    twice = entry("b", spends=(Spend("reviews", DAY, 3, 5), Spend("reviews", DAY, 3, 5)))
    assert log.append([twice])[0].spent == "reviews"


def test_who_comes_again_spends_nothing(log: ServingLog) -> None:
    assert statuses(log, spending("a", 3, 5), spending("a", 3, 5)) == ["taken", "known"]
    assert log.spent(DAY) == {"reviews": 3}


def requested(key: str, digest: str, *others: Entry) -> list[Entry]:
    return [entry(key, idempotency_key="till:k1", request_digest=digest), *others]


def test_a_request_is_found_by_its_key_with_what_it_was_answered(log: ServingLog) -> None:
    log.append([entry("b", "other")])
    log.append(requested("a", "whole", entry("b"), entry("c")))
    record = log.find_request("till:k1")
    assert (record.digest, record.answer) == ("whole", '{"is":"d1"}')
    assert [outcome.status for outcome in record.outcomes] == ["taken", "conflict", "taken"]
    assert log.find_request("till:k2") is None


def test_another_request_under_the_key_writes_nothing(log: ServingLog) -> None:
    log.append(requested("a", "whole"))
    outcomes = log.append(requested("x", "another", entry("y")))
    assert [(outcome.status, outcome.position) for outcome in outcomes] == [("conflict", 0), ("conflict", 0)]
    assert log.find("payment", "x") is None
    assert log.conflicts() == {"request": 1}
    assert [outcome.status for outcome in log.append(requested("a", "whole"))] == ["known"]


def test_an_entry_that_comes_again_after_an_allowance_refused_it_joins_its_request(log: ServingLog) -> None:
    log.append(requested("a", "whole", spending("b", 9, 5)))
    log.append([entry("b", idempotency_key="till:k1", request_digest="whole")])
    assert [outcome.position for outcome in log.find_request("till:k1").outcomes] == [1, 2]


def test_a_key_is_new_again_after_24_hours(log: ServingLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append(requested("a", "whole"))
    later = wall_clock() + timedelta(hours=24, seconds=1)
    monkeypatch.setattr("ml.stores.serving_log.wall_clock", lambda: later)
    assert log.find_request("till:k1") is None
    assert [outcome.status for outcome in log.append(requested("b", "another"))] == ["taken"]
    assert log.find_request("till:k1").digest == "another"


def test_entries_of_some_days_come_by_their_own_time(log: ServingLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.stores.serving_log._READ_AT_ONCE", 2)  # several pages
    times = {"late": 3, "first": 0, "same": 1, "equal": 1, "out": 4}
    log.append([entry(key, event_at=NOON + timedelta(hours=hours)) for key, hours in times.items()])
    for between in (log.flowing_back, log.attempts_between):
        found = [one.key for one in between("payment", NOON, NOON + timedelta(hours=4))]
        assert found == ["first", "same", "equal", "late"]
        assert list(between("label", NOON, NOON + timedelta(hours=4))) == []


def test_what_was_read_from_the_shop_does_not_flow_back(log: ServingLog) -> None:
    log.append([entry("landed", flows_back=False)])
    assert not log.has_flowing_back("payment")
    log.append([entry("posted")])
    assert log.has_flowing_back("payment")
    span = NOON, NOON + timedelta(hours=1)
    assert [one.key for one in log.flowing_back("payment", *span)] == ["posted"]
    assert [one.key for one in log.attempts_between("payment", *span)] == ["landed", "posted"]


def test_late_entries_are_found_by_when_they_were_taken(log: ServingLog, monkeypatch: pytest.MonkeyPatch) -> None:
    for hours, key in enumerate(("early", "in time", "too late")):
        monkeypatch.setattr(
            "ml.stores.serving_log.wall_clock", lambda hours=hours: NOON + timedelta(days=1, hours=hours)
        )
        log.append([entry(key), entry(f"{key}, next day", event_at=NOON + timedelta(days=1))])
    begin, end = NOON + timedelta(days=1, minutes=30), NOON + timedelta(days=1, hours=1)
    assert [one.key for one in log.flowing_back_late("payment", NOON + timedelta(hours=1), begin, end)] == ["in time"]


def consent(is_granted: bool, hours: int, purpose: str = "profiling") -> Entry:
    body = f'{{"customer_id":"c1","is_granted":{str(is_granted).lower()},"purpose":"{purpose}"}}'
    return entry(f"{purpose} {hours}", kind="consent", body=body, event_at=NOON + timedelta(hours=hours))


def test_reading_on_goes_by_position_also_for_some_kinds(log: ServingLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """By kind it would go through all of a long history, ten times a second."""
    log.append([entry("p1")])
    plans: list[str] = []
    read = log._file.read
    monkeypatch.setattr(
        log._file,
        "read",
        lambda query, values=(): plans.extend(row[3] for row in read(f"explain query plan {query}", values)) or [],
    )
    log.read_after(0, 10, ("payment", "decision"))
    log.read_counted_after(0, 10)
    assert plans == ["SEARCH entries USING INTEGER PRIMARY KEY (rowid>?)"] * 2
    log.read_attempts_after(0, 10, 10, {1})
    assert plans[2] == "SEARCH entries USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"


def test_the_newest_consent_about_profiling_is_kept(log: ServingLog) -> None:
    assert log.profiling_consent("c1") is None
    log.append([consent(False, 9, "marketing")])
    assert log.profiling_consent("c1") is None
    log.append([consent(False, 2)])
    assert log.profiling_consent("c1") == ProfilingConsent(NOON + timedelta(hours=2), objects=True)
    log.append([consent(True, 1)])  # posted later, decided earlier
    assert log.profiling_consent("c1") == ProfilingConsent(NOON + timedelta(hours=2), objects=True)
    log.append([consent(True, 3)])
    assert log.profiling_consent("c1") == ProfilingConsent(NOON + timedelta(hours=3), objects=False)
    assert log.profiling_consent("c2") is None


def test_what_cannot_be_applied_is_set_aside_once(log: ServingLog) -> None:
    log.append([entry("a")])
    log.set_aside({1: "unreadable"})
    log.set_aside({1: "unreadable"})
    assert log.count_set_aside() == 1
    assert log.end() == 1


def test_a_log_is_told_from_one_that_took_its_place(log: ServingLog, tmp_path: Path) -> None:
    assert log.identity() == log.identity() == ServingLog(tmp_path / "serving" / "log.db").identity()
    assert log.identity() != ServingLog(tmp_path / "other.db").identity()


def test_nothing_of_a_request_is_kept_when_its_transaction_breaks(log: ServingLog) -> None:
    with pytest.raises(UnicodeEncodeError):
        log.append([entry("a"), entry("b", body="\ud800")])
    assert log.end() == 0
    assert statuses(log, entry("a")) == ["taken"]


def test_each_commit_is_synchronised(log: ServingLog) -> None:
    with log._file.writing() as connection:
        assert connection.execute("pragma synchronous").fetchone() == (2,)  # FULL: a power cut takes nothing away
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)


def test_a_log_that_others_hold_is_given_up_in_time_and_taken_up_again(
    log: ServingLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([entry("a")])
    monkeypatch.setattr("ml.stores.log_file._WAIT_SECONDS", 0.05)
    other = sqlite3.connect(tmp_path / "serving" / "log.db", isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(LogUnavailable):
        log.append([entry("b")])
    assert log.find("payment", "a") is not None  # readers wait for no writer
    other.execute("rollback")
    assert statuses(log, entry("b")) == ["taken"]


def test_the_log_lies_under_the_shops_folder(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, state_dir=tmp_path, shop_id="tiny")
    log = ServingLog.from_settings(settings)
    assert not log.exists()
    assert log.end() == 0
    assert (settings.shop_dir / "serving" / "log.db").exists()
    assert log.exists()


def test_moments_are_kept_to_the_microsecond() -> None:
    at = datetime(2024, 3, 10, 12, 0, 0, 1, tzinfo=UTC)
    assert microseconds(at) == 1710072000000001
    assert moment(1710072000000001) == at
