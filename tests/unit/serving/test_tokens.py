"""Tokens: signed by the one key with the one algorithm, for this shop, for hours."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ml.serving import tokens as tokens_module
from ml.serving.keys import Expired
from ml.serving.tokens import TokenReader
from ml.settings import SettingsError


def pem(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(serialization.Encoding.PEM, form).decode())


SIGNER, STRANGER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
PUBLIC = pem(SIGNER)


def claims(**changes: Any) -> dict[str, Any]:
    """Claims of a token; a length of time is counted from now: long test runs collect their cases long before."""
    now = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 - PyJWT reads the real clock
    whole = {
        "sub": "checkout",
        "iss": "https://login.shop",
        "aud": "shopwright:tea",
        "iat": timedelta(),
        "exp": timedelta(hours=1),
        "scope": "decisions:write decisions:read",
    } | changes
    moments = {name: now + value for name, value in whole.items() if isinstance(value, timedelta)}
    return {name: value for name, value in (whole | moments).items() if value is not None}


def token(key: Any = SIGNER, algorithm: str = "ES256", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm)


@pytest.fixture
def reader() -> TokenReader:
    return TokenReader(PUBLIC, "ES256", "https://login.shop", "tea")


def test_while_a_new_key_takes_the_place_of_an_old_one_both_sign():
    old, new = ec.generate_private_key(ec.SECP256R1()), SIGNER
    both = TokenReader(f"{pem(old)}\n{pem(new)}", "ES256", "https://login.shop", "tea")
    assert both.caller_of(token(old)) is not None
    assert both.caller_of(token(new)) is not None
    assert both.caller_of(token(STRANGER)) is None
    with pytest.raises(Expired):
        both.caller_of(token(new, iat=timedelta(hours=-3), exp=timedelta(hours=-2)))
    with pytest.raises(SettingsError):
        TokenReader(f"{pem(new)}\n{pem(rsa.generate_private_key(65537, 2048))}", "ES256", "https://login.shop", "tea")


def test_a_token_says_who_and_what_for(reader):
    caller = reader.caller_of(token())
    assert caller is not None
    assert (caller.name, caller.scopes) == ("jwt:checkout", {"decisions:write", "decisions:read"})
    assert reader.caller_of(token()) == caller


def test_scopes_that_are_not_known_give_nothing(reader):
    caller = reader.caller_of(token(scope="admin decisions:write"))
    assert caller is not None
    assert caller.scopes == {"decisions:write"}
    without = reader.caller_of(token(scope=None))
    assert without is not None
    assert without.scopes == frozenset()


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "shopwright:coffee"},
        {"aud": ["shopwright:tea", "shopwright:coffee"]},
        {"aud": None},
        {"iss": "https://login.other"},
        {"iss": None},
        {"exp": None},
        {"iat": None},
        {"sub": None},
        {"sub": "Not A Name"},
        {"sub": "x" * 41},
        {"scope": ["decisions:write"]},
        {"exp": timedelta(hours=25)},
        {"iat": -timedelta(hours=24), "exp": timedelta(seconds=1)},
        {"iat": timedelta(hours=1), "exp": timedelta(hours=2)},
        {"nbf": timedelta(hours=1)},
        {"exp": 10**400},
        {"exp": "tomorrow"},
    ],
)
def test_what_is_not_meant_for_us_is_nobody_s(reader, changes):
    assert reader.caller_of(token(**changes)) is None


def test_a_day_is_the_longest(reader):
    assert reader.caller_of(token(iat=timedelta(), exp=timedelta(hours=24))) is not None


def test_another_s_signature_is_nobody_s(reader):
    assert reader.caller_of(token(STRANGER)) is None


def test_an_unsigned_token_is_nobody_s(reader):
    assert reader.caller_of(jwt.encode(claims(), None, algorithm="none")) is None


def test_the_public_key_is_no_secret(reader):
    """The old confusion: the public key, which everybody knows, as the secret of HS256."""

    def part(value: Any) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value, default=lambda at: int(at.timestamp())).encode()).rstrip(b"=")

    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims())
    signature = base64.urlsafe_b64encode(hmac.new(PUBLIC.encode(), signed, hashlib.sha256).digest()).rstrip(b"=")
    forged = (signed + b"." + signature).decode()
    assert jwt.get_unverified_header(forged)["alg"] == "HS256"  # it is a token, and well formed
    assert reader.caller_of(forged) is None


def test_another_algorithm_of_the_same_family_is_nobody_s():
    key = rsa.generate_private_key(65537, 2048)
    reader = TokenReader(pem(key), "RS256", "https://login.shop", "tea")
    assert reader.caller_of(token(key, "RS256")) is not None
    assert reader.caller_of(token(key, "PS256")) is None
    assert reader.caller_of(token()) is None


def test_damaged_tokens_are_nobody_s(reader):
    good = token()
    header, body, signature = good.split(".")
    other = token(scope="reviews:write").split(".")[1]
    for wrong in (
        *(
            good[:-1],
            good[:-10],
            f"{header}.{body}.",
            f"{header}.{other}.{signature}",
            "..",
            "a.b.c",
            good + "x" * 5000,
        ),
        *("\ud800.\ud800.\ud800", f"{header}.{body}"),
    ):
        assert reader.caller_of(wrong) is None, wrong[:20]


def test_an_expired_token_says_so_after_a_minute_of_grace(reader):
    day_ago = -timedelta(hours=2)
    assert reader.caller_of(token(iat=day_ago, exp=-timedelta(seconds=30))) is not None
    with pytest.raises(Expired):
        reader.caller_of(token(iat=day_ago, exp=-timedelta(seconds=90)))


def test_what_is_remembered_expires_too(reader, monkeypatch):
    short = token(iat=-timedelta(hours=2), exp=-timedelta(seconds=50))
    assert reader.caller_of(short) is not None
    assert len(reader._known) == 1
    later = tokens_module.time.monotonic() + 3600
    monkeypatch.setattr(tokens_module.time, "monotonic", lambda: later)
    reader.caller_of(token(iat=-timedelta(hours=2)))
    monkeypatch.setattr(
        tokens_module.jwt, "decode", lambda *_a, **_n: (_ for _ in ()).throw(jwt.ExpiredSignatureError())
    )
    with pytest.raises(Expired):
        reader.caller_of(short)


def test_only_so_many_are_remembered(reader, monkeypatch):
    monkeypatch.setattr(tokens_module, "_MOST_REMEMBERED", 3)
    for place in range(5):
        assert reader.caller_of(token(sub=f"c{place}")) is not None
    assert len(reader._known) == 3


@pytest.mark.parametrize("text", ["", "no key", pem(rsa.generate_private_key(65537, 2048))])
def test_what_is_no_key_of_the_algorithm_is_refused_and_not_repeated(text):
    with pytest.raises(
        SettingsError, match="SHOPWRIGHT_JWT_PUBLIC_KEY: expected a public key in PEM for ES256"
    ) as error:
        TokenReader(text, "ES256", "https://login.shop", "tea")
    assert not text or text not in str(error.value)


def test_a_token_is_taken_beside_keys_and_alone(configure):
    assert TokenReader.from_settings(configure()) is None
    settings = configure(jwt_public_key=PUBLIC, jwt_issuer="https://login.shop", shop_id="tea")
    made = TokenReader.from_settings(settings)
    assert made is not None
    assert made.caller_of(token()) is not None
