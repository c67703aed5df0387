"""A key is shown once; what is kept of it is what the API knows it by."""

import json

from click.testing import CliRunner

from ml.cli.keys import key
from ml.serving.keys import KeyRing


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(key, arguments)
    assert result.exit_code == code, result.output
    return result.output


def test_a_key_opens_what_it_was_made_for():
    shown, kept = run("checkout", "--scope", "decisions:write", "--scope", "events:write").splitlines()
    made = shown.removeprefix("the key, shown once: ")
    assert made not in kept
    caller = KeyRing(json.loads(kept.removeprefix("in SHOPWRIGHT_API_KEYS: "))).caller_of(made)
    assert (caller.name, caller.scopes) == ("checkout", {"decisions:write", "events:write"})


def test_a_key_may_have_a_last_day():
    assert "@2027-01-31 metrics:read" in run("prometheus", "--scope", "metrics:read", "--until", "2027-01-31")


def test_what_is_no_name_or_no_scope_is_refused():
    run("Anna Smith", "--scope", "reviews:read", code=2)
    run("anna", "--scope", "everything", code=2)
    run("anna", code=2)
