"""A PostgreSQL server of one's own: a temporary folder, a Unix socket in it, no port."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_READY_SECONDS = 60


@dataclass(frozen=True)
class PrivateServer:
    """A running server.

    Attributes:
        url: SQLAlchemy URL of its database, as its superuser.
    """

    folder: Path
    url: str
    _control: Callable[..., None]

    def restart(self) -> None:
        """End it as a crash would, and start it again."""
        self._control("restart", "-m", "immediate")

    def stop(self) -> None:
        self._control("stop", "-m", "immediate")

    def start(self) -> None:
        self._control("start")

    def url_of(self, role: str, password: str = "") -> str:
        return f"postgresql://{role}:{password}@/postgres?host={self.folder}"


@contextmanager
def private_postgres(find_binary: Callable[[str], Path]) -> Iterator[str]:
    """Start a server, and end it with its folder.

    Args:
        find_binary: Path of a server binary by name; skips the test where it is missing.

    Yields:
        SQLAlchemy URL of its database.
    """
    with private_server(find_binary) as server:
        yield server.url


@contextmanager
def private_server(find_binary: Callable[[str], Path], authentication: str = "trust") -> Iterator[PrivateServer]:
    """The same, with a server that can be restarted.

    Args:
        authentication: How others than its superuser prove who they are.
    """
    initdb, pg_ctl = find_binary("initdb"), find_binary("pg_ctl")
    # Not pytest's own folder: it is closed to the other user, and too long for a socket's path.
    folder = Path(tempfile.mkdtemp(prefix="shopwright-pg-", dir="/tmp"))
    as_user = _unprivileged(folder)
    data = folder / "data"

    def run(*arguments: object) -> None:
        # Its output goes to a file: a server that inherits a pipe keeps it open.
        with (folder / "output").open("ab") as output:
            subprocess.run(
                arguments, check=True, stdout=output, stderr=output, cwd=folder, timeout=_READY_SECONDS, **as_user
            )

    def control(*arguments: str) -> None:
        run(pg_ctl, "-D", data, "-w", *arguments)

    try:
        run(initdb, "-D", data, "-U", "shopwright", "-A", "trust", "-E", "UTF8", "--no-sync")
        settings = {"listen_addresses": "''", "unix_socket_directories": f"'{folder}'", "fsync": "off"}
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
        (data / "pg_hba.conf").write_text(f"local all shopwright trust\nlocal all all {authentication}\n")
        control("start")
        try:
            yield PrivateServer(folder, f"postgresql+psycopg://shopwright@/postgres?host={folder}", control)
        finally:
            if (data / "postmaster.pid").exists():
                control("stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder)


def _unprivileged(folder: Path) -> dict[str, object]:
    """How to run the server: it refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
