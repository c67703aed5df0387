"""Who asks, and whether they may: a key or a token in `Authorization: Bearer`, and the scope that the route takes."""

from ml.serving.errors import Refusal
from ml.serving.keys import Caller, Expired, FailedAttempts, KeyRing
from ml.serving.requests import Request
from ml.serving.tokens import TokenReader
from ml.settings import PREFIX, Settings, SettingsError

_BEARER = {"WWW-Authenticate": "Bearer"}


class Access:
    """Judges the credentials of one shop.

    Raises:
        SettingsError: Nobody has a key, and no tokens are taken.
    """

    def __init__(self, settings: Settings) -> None:
        if not settings.api_keys and settings.jwt_public_key is None:
            raise SettingsError(f"{PREFIX}API_KEYS: expected at least one key; `shopwright key NAME` makes one")
        self._keys, self._tokens = KeyRing(settings.api_keys, settings.zone), TokenReader.from_settings(settings)
        self._failed = FailedAttempts()

    def caller_of(self, request: Request, scope: str) -> Caller:
        """Who asks; raises Refusal: 401 nobody that is known, 429 too many such attempts, 403 without the scope."""
        kind, _, credential = (request.header(b"authorization") or "").partition(" ")
        credential = credential.strip()
        try:
            caller = self._find(credential) if kind.lower() == "bearer" and credential else None
        except Expired:
            message = "This key or token was good until it expired; use the new one."
            raise self._refused(request, "expired", message) from None
        if caller is None:
            raise self._refused(request, "unauthorized", "Send a key: Authorization: Bearer <key>.")
        if scope not in caller.scopes:
            raise Refusal(403, "forbidden", f"The key may not do this: it takes {scope}.")
        return caller

    def _find(self, credential: str) -> Caller | None:
        # A key of ours has no dot; a token has two.
        if self._tokens is not None and credential.count(".") == 2:
            return self._tokens.caller_of(credential)
        return self._keys.caller_of(credential)

    def _refused(self, request: Request, code: str, message: str) -> Refusal:
        wait = self._failed.note(request.client)
        if wait is None:
            return Refusal(401, code, message, headers=_BEARER)
        headers = {"Retry-After": str(int(wait) + 1)}
        return Refusal(429, "too_many_attempts", "Too many attempts without a key that is known.", headers=headers)
