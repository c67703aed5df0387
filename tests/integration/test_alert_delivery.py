"""Alerts through Apprise to a real mail server and a real HTTP receiver on loopback, telling no secret of theirs."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from click.testing import CliRunner

from ml.alerts.incidents import open_incident
from ml.alerts.notify import deliver
from ml.cli.alerting import alerts as alerts_command
from ml.settings import Settings
from ml.stores.operations import Operations, alerts

CANARY = "c4n4ry0fTheUrl"


@dataclass
class HttpReceiver:
    port: int
    status: int = 200
    paths: list[str] = field(default_factory=list)
    bodies: list[dict] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.paths.append(self.path)
            state.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(state.status)
            self.end_headers()
            self.wfile.write(b"no: " + CANARY.encode())

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = HttpReceiver(server.server_port)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


class FreePortController(Controller):
    """Its own start-up probe would connect to the port asked for, which is 0."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class Mailbox:
    """An SMTP server that lets in one user."""

    def __init__(self) -> None:
        self.envelopes: list = []
        self.controller = FreePortController(
            self, hostname="127.0.0.1", port=0, authenticator=self._authenticate, auth_require_tls=False
        )

    async def handle_DATA(self, _server, _session, envelope) -> str:  # noqa: N802 - aiosmtpd's name
        self.envelopes.append(envelope)
        return "250 OK"

    def _authenticate(self, _server, _session, _envelope, _mechanism, login: LoginPassword) -> AuthResult:
        is_user = (login.login, login.password) == (b"ops", CANARY.encode())
        return AuthResult(success=is_user, handled=False)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    mailbox.controller.start()
    yield mailbox
    mailbox.controller.stop()


@pytest.fixture
def heard_logs() -> Iterator[list[str]]:
    """All that any logger writes, at the most talkative level."""
    lines: list[str] = []
    handler = logging.Handler(0)
    handler.emit = lambda record: lines.append(logging.Formatter().format(record))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(1)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


def tell(operations: Operations) -> None:
    open_incident(
        operations,
        kind="gate_failed",
        object="order_lines",
        rule="amount_in_cents",
        partition=date(2017, 11, 20),
        severity="alert",
        title="order_lines failed at arrival: amount_in_cents",
        body="12 of 3000 rows.",
    )


@pytest.fixture
def told(configure: Callable[..., Settings]) -> Callable[..., tuple[Operations, Settings]]:
    def tell_with(*urls: str) -> tuple[Operations, Settings]:
        settings = configure(alert_urls=json.dumps(urls))
        operations = Operations.from_settings(settings)
        tell(operations)
        return operations, settings

    return tell_with


def mail_url(port: int, password: str = CANARY) -> str:
    return f"mailto://ops:{password}@127.0.0.1:{port}?mode=insecure&from=shopwright@shop.test&to=oncall@shop.test"


def test_an_alert_reaches_a_mailbox_and_a_webhook(told, mailbox, receiver, heard_logs):
    operations, settings = told(mail_url(mailbox.controller.port), f"json://127.0.0.1:{receiver.port}/{CANARY}")
    assert deliver(operations, settings)["sent"] == 1
    (envelope,) = mailbox.envelopes
    mail = message_from_bytes(envelope.content, policy=policy.default)
    assert envelope.rcpt_tos == ["oncall@shop.test"]
    assert mail["Subject"] == "[completejourney] alert: order_lines failed at arrival: amount_in_cents"
    assert "12 of 3000 rows." in mail.get_body(("plain", "html")).get_content()
    assert receiver.paths == [f"/{CANARY}"]
    assert (receiver.bodies[0]["type"], receiver.bodies[0]["message"]) == ("failure", "12 of 3000 rows.")
    assert deliver(operations, settings)["sent"] == 0
    assert (len(mailbox.envelopes), len(receiver.bodies)) == (1, 1)
    assert CANARY not in "\n".join(heard_logs)


def test_a_receiver_that_comes_back_gets_the_alert_once(told, receiver):
    operations, settings = told(f"json://127.0.0.1:{receiver.port}/hook")
    receiver.status = 503

    def recover(_seconds: float) -> None:
        receiver.status = 200

    assert deliver(operations, settings, sleep=recover)["sent"] == 1
    assert len(receiver.bodies) == 2
    (alert,) = operations.rows(alerts)
    assert (alert["delivery"], alert["attempts"], alert["last_error"]) == ("sent", 2, None)


def failing_urls(receiver: HttpReceiver, mailbox: Mailbox) -> dict[str, tuple[str, str]]:
    return {
        "refusing webhook": (
            f"json://user:{CANARY}@127.0.0.1:{receiver.port}/{CANARY}",
            "1-json: the receiver answered HTTP 503",
        ),
        "closed port": (
            f"json://user:{CANARY}@127.0.0.1:1/{CANARY}",
            "1-json: the receiver could not be reached, or ended the conversation",
        ),
        "wrong mail password": (
            mail_url(mailbox.controller.port, f"{CANARY}wrong"),
            "1-mailto: the receiver could not be reached, or ended the conversation",
        ),
        "incomplete token": (f"slack://{CANARY}", "1-slack: the URL is not one that Apprise understands"),
        "no URL": (f"{CANARY}@nowhere", "1-unreadable: the URL is not one that Apprise understands"),
    }


@pytest.mark.parametrize(
    "case", ["refusing webhook", "closed port", "wrong mail password", "incomplete token", "no URL"]
)
def test_a_failed_send_is_visible_and_tells_no_secret(case, told, receiver, mailbox, heard_logs):
    receiver.status = 503
    url, reason = failing_urls(receiver, mailbox)[case]
    operations, settings = told(url)
    assert deliver(operations, settings, sleep=lambda _seconds: None)["pending"] == 1
    (alert,) = operations.rows(alerts)
    assert (alert["delivery"], alert["last_error"]) == ("pending", reason)
    shown = CliRunner().invoke(alerts_command, [])
    assert shown.exit_code == 0
    assert reason in shown.output
    stored = json.dumps(operations.rows(alerts), default=str)
    assert CANARY not in "\n".join([*heard_logs, shown.output, stored])
    assert mailbox.envelopes == []


def test_the_console_takes_what_has_no_route(configure, capfd):
    settings = configure()
    operations = Operations.from_settings(settings)
    tell(operations)
    assert deliver(operations, settings)["unrouted"] == 1
    assert "alert: order_lines failed at arrival: amount_in_cents\n12 of 3000 rows." in capfd.readouterr().err
    shown = CliRunner().invoke(alerts_command, [])
    assert "1 open incident" in shown.output
    assert "unrouted" in shown.output
