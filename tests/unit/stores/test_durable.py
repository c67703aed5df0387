"""What is written durably is wholly there or not there at all."""

import fcntl
import os

import pytest

from ml.stores import durable
from ml.stores.durable import exclusive_lock, sha256_file, write_durably


def test_sha256_of_a_known_text(tmp_path):
    file = tmp_path / "abc"
    file.write_bytes(b"abc")
    assert sha256_file(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_longer_than_a_chunk_is_hashed_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(durable, "_CHUNK_BYTES", 2)
    file = tmp_path / "abc"
    file.write_bytes(b"abc")
    assert sha256_file(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_writing_makes_the_folder_and_replaces_the_file(tmp_path):
    file = tmp_path / "new" / "pointer"
    write_durably(file, b"one")
    write_durably(file, b"two")
    assert file.read_bytes() == b"two"
    assert [path.name for path in file.parent.iterdir()] == ["pointer"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "pointer"
    write_durably(file, b"old")

    def no_space(_descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr(durable.os, "fsync", no_space)
    with pytest.raises(OSError, match="no space"):
        write_durably(file, b"new")
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["pointer"]


def test_content_is_synced_before_the_rename_and_the_folder_after_it(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace

    def record_sync(descriptor):
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")  # noqa: PTH112
        fsync(descriptor)

    def record_replace(source, target):
        done.append("rename")
        replace(source, target)

    monkeypatch.setattr(durable.os, "fsync", record_sync)
    monkeypatch.setattr(durable.os, "replace", record_replace)
    write_durably(tmp_path / "pointer", b"content")
    assert done == ["file", "rename", "folder"]


def test_a_lock_is_held_by_one_and_freed_afterwards(tmp_path):
    path = tmp_path / "state" / ".lock"

    def is_free() -> bool:
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    with exclusive_lock(path):
        assert not is_free()
    assert is_free()
