"""The questions at the end of a lifecycle: asked when the answer can be whole, the payment once and last."""

import urllib.error
import urllib.request

import pytest

from ml.embedded import asking
from ml.embedded.asking import Api, ask_api
from ml.embedded.layout import Layout
from ml.outcomes import ToolFailed


class _Api:
    """Degraded for the first answers, as while the newest lists are loaded."""

    def __init__(self, degraded_answers=0, unready_answers=0, busy_answers=0):
        self._busy = busy_answers
        self.asked, self._degraded, self._unready = [], degraded_answers, unready_answers

    def ask(self, path, body=None):
        self.asked.append((path, body))
        if path == "/readyz":
            self._unready -= 1
            if self._unready >= 0:
                raise ToolFailed("the API answered 503 to /readyz")
            return {"status": "ready"}
        if body is not None:
            self._busy -= 1
            if self._busy >= 0:
                raise ToolFailed("the API answered 503 to /v1/fraud")
            return {"action": "approve", "step": "model", "degraded": False, "model_version": "m"}
        self._degraded -= 1
        return {"step": "personal", "degraded": self._degraded >= 0, "model_version": "m", "items": []}


@pytest.fixture
def settings(configure, monkeypatch):
    monkeypatch.setattr(asking, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(asking, "_customer", lambda _settings: "a b/c")
    monkeypatch.setattr(asking, "_newest_payment", lambda _settings: {"payment_id": "p"})
    return configure()


def test_it_waits_for_what_is_being_loaded_and_asks_about_the_payment_once_and_last(settings):
    api = _Api(degraded_answers=3, unready_answers=2)
    shown, decided = ask_api(settings, api)
    assert (shown.answer["degraded"], decided.answer["step"]) == (False, "model")
    paths = [path for path, _body in api.asked]
    assert paths[:4] == ["/v1/recommendations/a%20b%2Fc?placement=demo&k=5"] * 4
    assert paths[4:] == ["/readyz"] * 3 + ["/v1/fraud/decisions"]


def test_a_busy_api_is_asked_about_the_same_payment_again(settings):
    api = _Api(busy_answers=2)
    assert [one.what for one in ask_api(settings, api)] == ["recommendations", "decision"]
    assert [body for _path, body in api.asked if body] == [{"payment_id": "p"}] * 3


def test_what_stays_degraded_is_told_as_it_is(settings, monkeypatch):
    monkeypatch.setattr(asking, "_PATIENCE_SECONDS", 0.05)
    shown, _decided = ask_api(settings, _Api(degraded_answers=10**9, unready_answers=10**9))
    assert shown.answer["degraded"]


def test_a_shop_without_lists_and_payments_is_asked_nothing(settings, monkeypatch):
    monkeypatch.setattr(asking, "_customer", lambda _settings: None)
    monkeypatch.setattr(asking, "_newest_payment", lambda _settings: None)
    assert list(ask_api(settings, _Api())) == []


def test_an_error_names_the_route_and_not_whom_it_is_about(settings, monkeypatch):
    layout = Layout(settings.shop_dir)
    layout.api_key.parent.mkdir(parents=True)
    layout.api_key.write_text("key")

    def refuse(request, timeout):
        assert request.get_header("Authorization") == "Bearer key"
        raise urllib.error.HTTPError(request.full_url, 429, "too many", None, None)

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(ToolFailed, match=r"answered 429 to /v1/recommendations$"):
        Api("http://127.0.0.1:9", layout).ask("/v1/recommendations/customer-4711?k=1")
