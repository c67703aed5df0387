"""Ports of the one-machine profile, and its API client, on real sockets."""

import http.server
import json
import socket
import threading
from contextlib import closing

import pytest

from ml.embedded.airflow_api import AirflowApi, ApiRefused
from ml.embedded.doctor import check_ports
from ml.embedded.layout import Layout, choose_ports, is_free, read_ports
from ml.outcomes import ToolFailed
from ml.settings import SettingsError


@pytest.fixture
def taken_port():
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_free_port_is_chosen_recorded_and_kept(configure):
    settings = configure(airflow_port=0, mlflow_port=0, serving_port=0)
    layout = Layout(settings.shop_dir)
    chosen = choose_ports(settings, layout)
    assert len({chosen.airflow, chosen.mlflow, chosen.serving}) == 3
    assert is_free(chosen.serving)
    assert read_ports(layout) == chosen
    assert choose_ports(settings, layout) == chosen


@pytest.mark.parametrize("name", ["airflow", "serving"])
def test_a_port_in_use_is_one_line_that_names_the_setting(configure, taken_port, name):
    settings = configure(**{"airflow_port": 0, "mlflow_port": 0, "serving_port": 0, f"{name}_port": taken_port})
    with pytest.raises(SettingsError, match=f"port {taken_port} is in use.*SHOPWRIGHT_{name.upper()}_PORT"):
        choose_ports(settings, Layout(settings.shop_dir))
    findings = {finding.observed.split(":")[0]: finding for finding in check_ports(settings)}
    assert not findings[name].is_ok
    assert findings["mlflow"].is_ok


def test_a_record_from_before_there_was_an_api_gets_its_port(configure):
    settings = configure(airflow_port=0, mlflow_port=0, serving_port=0)
    layout = Layout(settings.shop_dir)
    layout.ports.parent.mkdir(parents=True)
    layout.ports.write_text(json.dumps({"airflow": 1, "mlflow": 2}))
    assert read_ports(layout).serving == 0
    assert choose_ports(settings, layout).serving > 0


class _Api(http.server.BaseHTTPRequestHandler):
    """Gives tokens, forgets the first one, refuses one path."""

    tokens = 0

    def do_POST(self):
        _Api.tokens += 1
        self._answer(201, {"access_token": f"token-{_Api.tokens}"})

    def do_GET(self):
        if self.headers.get("Authorization") == "Bearer token-1":
            self._answer(401, {"detail": "expired"})
        elif self.path.startswith("/api/v2/importErrors"):
            self._answer(
                200, {"import_errors": [{"filename": "a.py", "stack_trace": "Traceback\n  x\nSyntaxError: y\n"}]}
            )
        else:
            self._answer(404, {"detail": "no such thing"})

    def _answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def api(tmp_path):
    passwords = tmp_path / "passwords.json"
    passwords.write_text(json.dumps({"admin": "secret"}))
    _Api.tokens = 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield AirflowApi(f"http://127.0.0.1:{server.server_port}", passwords)
    server.shutdown()
    server.server_close()


def test_an_expired_token_is_renewed(api):
    assert api.import_errors() == {"a.py": "SyntaxError: y"}
    assert _Api.tokens == 2


def test_a_refusal_is_told_and_not_tried_again(api):
    with pytest.raises(ApiRefused, match="answered 404 to GET /api/v2/dags/x/dagRuns/y"):
        api.run("x", "y")


def test_nobody_there_is_no_health(tmp_path, taken_port, monkeypatch):
    monkeypatch.setattr("ml.embedded.airflow_api._TIMEOUT_SECONDS", 0.2)
    api = AirflowApi(f"http://127.0.0.1:{taken_port}", tmp_path / "none")
    assert not api.is_ready()
    with pytest.raises(ToolFailed):
        api.health()
