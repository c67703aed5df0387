"""Files that are either wholly there or not there at all, whatever kills the process."""

import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml.outcomes import ToolFailed

PRIVATE_FOLDER = 0o700
"""Mode of a folder that holds personal data."""

# What a system says when it will not store bytes. Libraries pass the sentence on, not always the number.
_STORAGE_REFUSALS = {
    os.strerror(code): errno.errorcode[code]
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
}
_CHUNK_BYTES = 1 << 20


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make renames inside a folder durable."""
    sync_file(path)


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file in one step: temporary file, fsync, rename, fsync of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def storage_refusal(message: str) -> str | None:
    """The system's reason for not storing bytes, with its name (`No space left on device (ENOSPC)`), if it is one."""
    return next((f"{reason} ({name})" for reason, name in _STORAGE_REFUSALS.items() if reason in message), None)


@contextmanager
def storage_named(store: str) -> Iterator[None]:
    """Name the store and the reason when the system does not store bytes: a full disk, a read-only folder, a limit.

    Raises:
        ToolFailed: In place of the system's error; what was published before is as it was.
    """
    try:
        yield
    except OSError as error:
        reason = storage_refusal(str(error))
        if reason is None:
            raise
        raise ToolFailed(
            f"{store} cannot be written: {reason}; what is published stays, make room and run the step again"
        ) from error


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold an advisory lock; the kernel frees it when the process dies."""
    with _locked(path, fcntl.LOCK_EX):
        yield


@contextmanager
def shared_lock(path: Path) -> Iterator[None]:
    """Hold an advisory lock that others may share; it waits for an exclusive one."""
    with _locked(path, fcntl.LOCK_SH):
        yield


@contextmanager
def _locked(path: Path, operation: int) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, operation)
        yield


@contextmanager
def exclusive_lock_if_free(path: Path) -> Iterator[bool]:
    """Hold an advisory lock if nobody else does; yields whether it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_held = True
        except BlockingIOError:
            is_held = False
        yield is_held


def share_file(path: Path) -> int:
    """Open an existing file and hold a shared lock on it; closing the returned descriptor frees it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
