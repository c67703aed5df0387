"""What must be true before anything starts. One line each, with the remedy."""

import fcntl
import importlib.metadata
import os
import platform
import shutil
import sqlite3
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from ml.embedded.layout import PORT_NAMES, Layout, is_free, read_ports
from ml.embedded.processes import members, read_leaders
from ml.monitoring.freshness import objectives
from ml.outcomes import DataFailed, ToolFailed
from ml.settings import PREFIX, PROJECT_DIR, Settings, SettingsError

# The demo's state takes about 1.5 GB; Parquet versions and logs grow from there.
NEEDED_BYTES = 4 * 1024**3
_REINSTALL = "run `make setup` (an interrupted install goes on where it stopped)"
_SHOWN_PACKAGES = 4


@dataclass(frozen=True)
class Finding:
    """Attributes: remedy is empty when the check passed."""

    name: str
    observed: str
    remedy: str = ""

    @property
    def is_ok(self) -> bool:
        return not self.remedy

    def line(self) -> str:
        told = f"{'ok  ' if self.is_ok else 'FAIL'} {self.name:<10} {self.observed}"
        return told if self.is_ok else f"{told}: {self.remedy}"


def check_python() -> Finding:
    wanted = _lock()["requires-python"]
    found = platform.python_version()
    if SpecifierSet(wanted).contains(found):
        return Finding("python", f"{found} (the lock takes {wanted})")
    return Finding("python", f"{found}, the lock takes {wanted}", "`make clean`, then `make PYTHON=python3.11 setup`")


def check_packages() -> Finding:
    """Installed versions against `uv.lock`, and the direct dependencies' presence."""
    installed: dict[str, str] = {
        canonicalize_name(found.metadata["Name"]): found.version for found in importlib.metadata.distributions()
    }
    locked: dict[str, set[str]] = {}  # a package may be locked at one version per Python version
    for package in _lock()["package"]:
        locked.setdefault(package["name"], set()).add(package.get("version", ""))
    missing = sorted(_direct_dependencies() - set(installed))
    if missing:
        return Finding("packages", f"not installed: {_some(missing)}", _REINSTALL)
    other = [
        f"{name} {installed[name]} (lock: {', '.join(sorted(versions))})"
        for name, versions in locked.items()
        if name in installed and installed[name] not in versions
    ]
    if other:
        return Finding("packages", f"not as locked: {_some(sorted(other))}", _REINSTALL)
    return Finding("packages", f"{sum(name in installed for name in locked)} installed as locked")


def check_settings(settings: Settings) -> Finding:
    folder = PROJECT_DIR / (settings.files_dir or "")
    if settings.source == "files" and not folder.is_dir():
        return Finding("settings", f"{folder} is no folder", f"set {PREFIX}FILES_DIR to the shop's files")
    try:
        objectives(settings.freshness)
    except SettingsError as error:
        return Finding("settings", str(error), f"correct {PREFIX}FRESHNESS")
    return Finding("settings", f"shop {settings.shop_id}, source {settings.source}, {settings.timezone}")


def check_source(settings: Settings) -> Iterator[Finding]:
    """Whether the database that the shop is read from can be, and has what the contract asks for."""
    if settings.source != "postgres":
        return
    from ml.shop.postgres import PostgresSource  # only the chosen source is loaded

    remedy = "see docs/sources.md"
    try:
        source = PostgresSource(settings, waits=())
        tables = source.tables()
        problems = source.unfit_columns()
    except (DataFailed, ToolFailed) as error:
        yield Finding("source", str(error), remedy)
        return
    for problem in problems:
        yield Finding("source", f"{settings.source_schema}.{problem}", remedy)
    if not problems:
        yield Finding("source", f"schema {settings.source_schema} can be read: {', '.join(tables)}")


def check_space(settings: Settings, needed: int = NEEDED_BYTES) -> Finding:
    folder = _existing(settings.shop_dir)
    free = shutil.disk_usage(folder).free
    told = f"{free / 1024**3:.1f} GB free in {folder}"
    if free >= needed:
        return Finding("space", told)
    return Finding("space", told, f"free {needed / 1024**3:.0f} GB, or set {PREFIX}STATE_DIR to a larger disk")


def check_state(settings: Settings) -> Finding:
    """Whether the state folder can be written, locked, and hold SQLite's write-ahead log."""
    folder = _existing(settings.shop_dir)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-") as probe:
            with (Path(probe) / "lock").open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with closing(sqlite3.connect(Path(probe) / "probe.db")) as database:
                mode = database.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    except (OSError, sqlite3.Error) as error:
        return Finding("state", f"{folder}: {error}", f"set {PREFIX}STATE_DIR to a local folder that you can write")
    if mode != "wal":
        return Finding("state", f"{folder} cannot hold SQLite's log", f"set {PREFIX}STATE_DIR to a local disk")
    return Finding("state", f"{settings.shop_dir} can be written and locked")


def check_lock(settings: Settings) -> Finding:
    """Whether another `up` has the state folder, or a killed one left processes behind."""
    layout = Layout(settings.shop_dir)
    leaders = read_leaders(layout.processes)
    try:
        with sole_owner(layout):
            left = members(leaders)
    except ToolFailed as error:
        return Finding("lock", str(error), "end it (Ctrl-C) first")
    if left:
        return Finding("lock", f"{len(left)} processes left by a killed start; the next `up` ends them")
    return Finding("lock", "no other `up` uses this state")


def check_ports(settings: Settings) -> Iterator[Finding]:
    recorded = read_ports(Layout(settings.shop_dir))
    for name in PORT_NAMES:
        port = getattr(settings, f"{name}_port")
        if port == 0:
            last = getattr(recorded, name, 0)
            before = f", {last} the last time" if last else ""
            yield Finding("port", f"{name}: a free one{before}")
        elif is_free(port):
            yield Finding("port", f"{name}: {port} is free")
        else:
            remedy = f"end what listens there, or set {PREFIX}{name.upper()}_PORT (0 takes a free one)"
            yield Finding("port", f"{name}: {port} is in use", remedy)


def examine(settings: Settings) -> list[Finding]:
    """Every check of this machine. A source that is away is none: what is published goes on without it."""
    checks: list[Callable[[], Finding]] = [
        check_python,
        check_packages,
        lambda: check_settings(settings),
        lambda: check_space(settings),
        lambda: check_state(settings),
        lambda: check_lock(settings),
    ]
    return [*(check() for check in checks), *check_ports(settings)]


def assert_fit(settings: Settings) -> None:
    """
    Raises:
        ToolFailed: Starting cannot work; the message is one line with the remedy.
    """
    for finding in examine(settings):
        if not finding.is_ok:
            raise ToolFailed(f"{finding.name}: {finding.observed}: {finding.remedy}")


@contextmanager
def sole_owner(layout: Layout) -> Iterator[None]:
    """Hold the state folder; the kernel frees it when we die.

    Raises:
        ToolFailed: Another process holds it.
    """
    layout.lock.parent.mkdir(parents=True, exist_ok=True)
    with layout.lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ToolFailed(f"another `up` (process {file.read().strip() or '?'}) uses {layout.shop_dir}") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _lock() -> dict[str, Any]:
    return tomllib.loads((PROJECT_DIR / "uv.lock").read_text())


def _direct_dependencies() -> set[str]:
    project = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text())
    groups = project["tool"]["uv"]["default-groups"]
    wanted = project["project"]["dependencies"] + [
        line for group in groups for line in project["dependency-groups"][group]
    ]
    return {canonicalize_name(Requirement(line).name) for line in wanted}


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN_PACKAGES} more" if len(names) > _SHOWN_PACKAGES else ""
    return ", ".join(names[:_SHOWN_PACKAGES]) + more
