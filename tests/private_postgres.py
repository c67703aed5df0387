"""A PostgreSQL server of one's own: a temporary folder, a Unix socket in it, no port."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_READY_SECONDS = 60


@contextmanager
def private_postgres(find_binary: Callable[[str], Path]) -> Iterator[str]:
    """Start a server, and end it with its folder.

    Args:
        find_binary: Path of a server binary by name; skips the test where it is missing.

    Yields:
        SQLAlchemy URL of its database.
    """
    initdb, postgres = find_binary("initdb"), find_binary("postgres")
    # Not pytest's own folder: it is closed to the other user, and too long for a socket's path.
    folder = Path(tempfile.mkdtemp(prefix="shopwright-pg-", dir="/tmp"))
    as_user = _unprivileged(folder)
    data = folder / "data"
    try:
        subprocess.run(
            [initdb, "-D", data, "-U", "shopwright", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=folder,
            **as_user,
        )
        settings = {"listen_addresses": "", "unix_socket_directories": str(folder), "fsync": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        server = subprocess.Popen(
            [postgres, "-D", data, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            **as_user,
        )
        try:
            _wait_until_ready(find_binary("pg_isready"), folder, server)
            yield f"postgresql+psycopg://shopwright@/postgres?host={folder}"
        finally:
            server.terminate()
            server.wait(30)
    finally:
        shutil.rmtree(folder)


def _unprivileged(folder: Path) -> dict[str, object]:
    """How to run the server: it refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _wait_until_ready(pg_isready: Path, folder: Path, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, f"the server ended with {server.returncode}"
        if subprocess.run([pg_isready, "-q", "-h", folder], check=False).returncode == 0:
            return
        time.sleep(0.1)
    raise TimeoutError(f"PostgreSQL was not ready within {_READY_SECONDS} s")
