"""Tokens (JWT) beside keys: signed by whoever the shop lets sign, for this shop and for hours, never by an algorithm
that the token itself chooses.
"""

import hashlib
import re
import time
from collections import OrderedDict
from typing import Any

import jwt

from ml.serving.keys import Caller, Expired
from ml.settings import KEY_NAME, PREFIX, SCOPES, Settings, SettingsError, wall_clock

LONGEST_SECONDS = 24 * 3600
LEEWAY_SECONDS = 60
_PEM = re.compile(r"-----BEGIN [^-]+-----.+?-----END [^-]+-----", re.DOTALL)
_MAX_CHARACTERS = 4096
_MOST_REMEMBERED = 1024


class TokenReader:
    """Reads the tokens of one issuer, who may have several keys while one takes another's place.

    A signature takes longer to check than a decision takes to make, so tokens that were found good are remembered
    until they expire, by their digest.

    Args:
        public_keys: One PEM block, or several one after the other.

    Raises:
        SettingsError: A public key is none, or of another algorithm.
    """

    def __init__(self, public_keys: str, algorithm: str, issuer: str, shop_id: str) -> None:
        self._algorithm, self._issuer, self._audience = algorithm, issuer, f"shopwright:{shop_id}"
        try:
            # PyJWT refuses a public key as the secret of HS256; with the algorithm pinned it never gets there.
            prepare = jwt.get_algorithm_by_name(algorithm).prepare_key
            self._keys = [prepare(key) for key in _PEM.findall(public_keys) or [public_keys]]
        except Exception:  # noqa: BLE001 - whatever the library says of the key's text, it is not repeated
            raise SettingsError(f"{PREFIX}JWT_PUBLIC_KEY: expected a public key in PEM for {algorithm}") from None
        self._known: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()

    @classmethod
    def from_settings(cls, settings: Settings) -> "TokenReader | None":
        """None when the shop takes no tokens."""
        if settings.jwt_public_key is None:
            return None
        return cls(settings.jwt_public_key, settings.jwt_algorithm, settings.jwt_issuer or "", settings.shop_id)

    def caller_of(self, token: str) -> Caller | None:
        """Whose token it is; None for one that is not good.

        Raises:
            Expired: It was good.
        """
        if len(token) > _MAX_CHARACTERS:
            return None
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None:
            # exp counts wall seconds; what is remembered is when it runs out by a clock that nobody sets
            if time.monotonic() < known[0]:
                return known[1]
            del self._known[digest]
        return self._verified(token, digest)

    def _verified(self, token: str, digest: bytes) -> Caller | None:
        claims = self._claims(token)
        if claims is None:
            return None
        caller = _caller(claims)
        seconds = claims["exp"] - claims["iat"]
        if caller is None or not 0 < seconds <= LONGEST_SECONDS:
            return None
        self._remember(digest, claims["exp"], caller)
        return caller

    def _claims(self, token: str) -> dict[str, Any] | None:
        for key in self._keys:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key,
                    algorithms=[self._algorithm],
                    audience=self._audience,
                    issuer=self._issuer,
                    leeway=LEEWAY_SECONDS,
                    options={"require": ["exp", "iat", "iss", "aud", "sub"], "verify_iat": True, "strict_aud": True},
                )
            except jwt.InvalidSignatureError:  # it may be of the next key
                continue
            except jwt.ExpiredSignatureError:
                raise Expired from None
            except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError):
                return None
            return claims
        return None

    def _remember(self, digest: bytes, expires_at: float, caller: Caller) -> None:
        left = expires_at + LEEWAY_SECONDS - wall_clock().timestamp()
        self._known[digest] = (time.monotonic() + left, caller)
        while len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)


def _caller(claims: dict[str, Any]) -> Caller | None:
    """Who the token is for: `sub` as a key's name, `scope` as words; scopes that are not known here give nothing."""
    name, scope = claims["sub"], claims.get("scope", "")
    if not isinstance(name, str) or not isinstance(scope, str) or re.fullmatch(KEY_NAME.strip("^$"), name) is None:
        return None
    if not all(isinstance(claims[one], int | float) and not isinstance(claims[one], bool) for one in ("exp", "iat")):
        return None
    # A prefix of its own, so that a token cannot take a key's name: budgets and idempotency keys are kept by name.
    return Caller(f"jwt:{name}", frozenset(scope.split(" ")) & frozenset(SCOPES))
