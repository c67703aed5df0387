"""API keys: who a key belongs to, what it may do, and how wrong ones are counted."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from ml.serving import keys as keys_module
from ml.serving.keys import Expired, FailedAttempts, KeyRing, key_digest, new_key
from ml.settings import SettingsError

DIGEST = "0123456789abcdef" * 4


def grant(key: str, scopes: str = "reviews:read") -> str:
    return f"{key_digest(key)} {scopes}"


def test_a_key_is_kept_as_its_sha256():
    assert key_digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_keys_are_long_and_never_the_same():
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert min(len(key) for key in made) >= 43  # 256 bits


def test_a_key_says_who_and_what_for():
    ring = KeyRing({"anna": grant("one", "reviews:read reviews:write"), "bert": grant("two")})
    anna, bert = ring.caller_of("one"), ring.caller_of("two")
    assert anna is not None
    assert (anna.name, anna.scopes) == ("anna", {"reviews:read", "reviews:write"})
    assert bert is not None
    assert (bert.name, bert.scopes) == ("bert", {"reviews:read"})


@pytest.mark.parametrize("key", ["", "One", "one ", "onee", "x" * 201, key_digest("one")])
def test_what_is_not_the_key_is_nobody_s(key):
    assert KeyRing({"anna": grant("one")}).caller_of(key) is None
    assert KeyRing({}).caller_of(key) is None


def test_while_a_key_is_replaced_both_are_taken():
    ring = KeyRing({"anna": f"{key_digest('old')} {key_digest('new')} reviews:read"})
    names = [caller.name for key in ("old", "new") if (caller := ring.caller_of(key))]
    assert names == ["anna", "anna"]


def test_a_key_is_good_until_the_end_of_its_last_day_in_the_shop(monkeypatch):
    old, new = key_digest("old"), key_digest("new")
    ring = KeyRing({"anna": f"{old}@2027-01-31 {new} reviews:read"}, ZoneInfo("America/New_York"))
    # 2027-02-01 04:59 UTC is still the 31st in New York.
    monkeypatch.setattr(keys_module, "wall_clock", lambda: datetime(2027, 2, 1, 4, 59, tzinfo=UTC))
    assert ring.caller_of("old") is not None
    monkeypatch.setattr(keys_module, "wall_clock", lambda: datetime(2027, 2, 1, 5, 0, tzinfo=UTC))
    with pytest.raises(Expired):
        ring.caller_of("old")
    assert ring.caller_of("new") is not None


def test_a_last_day_that_is_none_is_refused():
    with pytest.raises(SettingsError, match="anna: expected a last day"):
        KeyRing({"anna": f"{DIGEST}@2027-02-30 reviews:read"})


def test_wrong_attempts_are_counted_by_client_and_forgotten(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(keys_module.time, "monotonic", lambda: now)
    attempts = FailedAttempts(limit=2, seconds=60)
    assert [attempts.note("a"), attempts.note("a"), attempts.note("b")] == [None, None, None]
    assert attempts.note("a") == 60
    now = 1061.0
    assert attempts.note("a") is None


@pytest.mark.parametrize(
    "value",
    [
        '{"anna": "secret-key"}',
        f'{{"anna": "{DIGEST}"}}',  # no scope
        f'{{"anna": "{DIGEST} everything"}}',
        f'{{"Anna Smith": "{DIGEST} reviews:read"}}',
        '{"anna": "' + "A" * 64 + ' reviews:read"}',
        "anna",
    ],
)
def test_what_is_no_grant_is_refused_by_the_settings_and_not_repeated(configure, value):
    with pytest.raises(SettingsError, match="SHOPWRIGHT_API_KEYS") as error:
        configure(api_keys=value)
    assert "secret-key" not in str(error.value)


def test_a_grant_is_taken_by_the_settings(configure):
    grants = f'{{"anna": "{DIGEST} {DIGEST} reviews:read reviews:write"}}'
    assert list(configure(api_keys=grants).api_keys) == ["anna"]
    assert configure(api_keys="{}").api_keys == {}
