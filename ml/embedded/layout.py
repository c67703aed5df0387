"""Where the one-machine profile keeps its things, and the secrets and ports that it chose."""

import base64
import json
import secrets
import socket
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from ml.serving.keys import key_digest, new_key
from ml.settings import PREFIX, SCOPES, Settings, SettingsError
from ml.stores.durable import write_durably

LOOPBACK = "127.0.0.1"
AIRFLOW_USER = "admin"
PORT_NAMES = ("airflow", "mlflow", "serving")
API_KEY_NAME = "embedded"


@dataclass(frozen=True)
class Layout:
    """Paths under the shop's state folder."""

    shop_dir: Path

    @property
    def airflow_home(self) -> Path:
        return self.shop_dir / "airflow"

    @property
    def passwords(self) -> Path:
        return self.airflow_home / "passwords.json"

    @property
    def secrets(self) -> Path:
        return self.airflow_home / "secrets.json"

    @property
    def mlflow(self) -> Path:
        return self.shop_dir / "mlflow"

    @property
    def logs(self) -> Path:
        return self.shop_dir / "logs"

    @property
    def home(self) -> Path:
        """What the processes see as the user's home, so that no tool writes into the real one."""
        return self.shop_dir / "home"

    @property
    def ports(self) -> Path:
        return self.shop_dir / "run" / "ports.json"

    @property
    def processes(self) -> Path:
        return self.shop_dir / "run" / "processes.json"

    @property
    def go_ahead(self) -> Path:
        """Appears when Airflow's database is ready for the scheduler."""
        return self.shop_dir / "run" / "database-is-ready"

    @property
    def api_key(self) -> Path:
        """The one key to the API that a start makes for whoever can read this file: mode 600."""
        return self.shop_dir / "run" / "api-key"

    @property
    def lock(self) -> Path:
        """Held by the one `up` of this state folder."""
        return self.shop_dir / "run" / "up.lock"


@dataclass(frozen=True)
class Ports:
    """Attributes: serving is 0 in a record from before there was an API."""

    airflow: int
    mlflow: int
    serving: int = 0

    @property
    def airflow_url(self) -> str:
        return f"http://{LOOPBACK}:{self.airflow}"

    @property
    def mlflow_url(self) -> str:
        return f"http://{LOOPBACK}:{self.mlflow}"

    @property
    def serving_url(self) -> str:
        return f"http://{LOOPBACK}:{self.serving}"


def is_free(port: int) -> bool:
    """Whether something could listen on the port on loopback now."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def choose_ports(settings: Settings, layout: Layout) -> Ports:
    """The ports to listen on, recorded for those who ask later. A free one is kept over restarts when it can be.

    Raises:
        SettingsError: A port that was asked for is in use.
    """
    recorded = read_ports(layout)
    chosen: dict[str, int] = {}
    for name in PORT_NAMES:
        wanted = getattr(settings, f"{name}_port")
        if wanted == 0:
            before = getattr(recorded, name, 0)
            chosen[name] = before if before and is_free(before) else _any_free(set(chosen.values()))
        elif is_free(wanted):
            chosen[name] = wanted
        else:
            setting = f"{PREFIX}{name.upper()}_PORT"
            raise SettingsError(
                f"port {wanted} is in use: end what listens there, or set {setting} (0 takes a free one)"
            )
    ports = Ports(**chosen)
    write_durably(layout.ports, json.dumps(asdict(ports)).encode())
    return ports


def read_ports(layout: Layout) -> Ports | None:
    if not layout.ports.exists():
        return None
    return Ports(**json.loads(layout.ports.read_bytes()))


def _any_free(taken: set[int]) -> int:
    while True:
        with closing(socket.socket()) as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port


def read_or_make_secrets(layout: Layout) -> dict[str, str]:
    """Airflow's own secrets and the log-in, made once; files that only the owner can read."""
    made = _stored(layout.secrets, {"jwt": _token(), "api": _token(), "fernet": _fernet_key()})
    made["password"] = _stored(layout.passwords, {AIRFLOW_USER: _token()})[AIRFLOW_USER]
    return made


def api_key_grant(layout: Layout) -> dict[str, str]:
    """The embedded key's entry in `SHOPWRIGHT_API_KEYS`: its digest and every scope. The key is made once and kept."""
    if not layout.api_key.exists():
        write_durably(layout.api_key, f"{new_key()}\n".encode())
    digest = key_digest(layout.api_key.read_text().strip())
    return {API_KEY_NAME: " ".join((digest, *SCOPES))}


def _stored(path: Path, fresh: dict[str, str]) -> dict[str, str]:
    if not path.exists():
        write_durably(path, json.dumps(fresh).encode())  # a temporary file of mkstemp has mode 0600, and keeps it
    stored: dict[str, str] = json.loads(path.read_bytes())
    return stored


def _token() -> str:
    return secrets.token_urlsafe(24)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
