import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import psutil
import pytest

from ml.embedded.processes import Leader, ProcessGroups, end_leftovers, members, read_leaders
from ml.outcomes import ToolFailed

SLEEPER = [sys.executable, "-c", "import time; time.sleep(300)"]
# A parent that ignores SIGTERM, with a child in a process group of its own, as Airflow's tasks are.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], process_group=0)
print(child.pid, flush=True)
time.sleep(300)
"""


@pytest.fixture
def groups(tmp_path):
    started = ProcessGroups(tmp_path / "processes.json", dict(os.environ), tmp_path / "logs")
    yield started
    started.stop()


def _await(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def _is_gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_stop_ends_a_whole_session_also_those_who_ignore_the_request(groups, tmp_path, monkeypatch):
    monkeypatch.setattr("ml.embedded.processes._TERM_SECONDS", 0.5)
    groups.start("stubborn", [sys.executable, "-c", STUBBORN])
    _await(lambda: groups.log_of("stubborn").read_text().endswith("\n"))
    child = int(groups.log_of("stubborn").read_text())
    leader = read_leaders(tmp_path / "processes.json")[0]
    assert {process.pid for process in members([leader])} == {leader.pid, child}
    groups.stop()
    assert _is_gone(leader.pid)
    assert _is_gone(child)
    assert read_leaders(tmp_path / "processes.json") == []


def test_a_process_that_ended_is_told_with_its_log(groups):
    groups.start("brief", [sys.executable, "-c", "raise SystemExit(7)"])
    with pytest.raises(ToolFailed, match=r"brief ended with status 7; see .*brief\.log"):
        _await(lambda: groups.assert_alive())


def test_run_waits_and_tells_of_a_bad_end(groups):
    groups.run("good", [sys.executable, "-c", "print('done')"])
    assert groups.log_of("good").read_text() == "done\n"
    with pytest.raises(ToolFailed, match="bad ended with status 3"):
        groups.run("bad", [sys.executable, "-c", "raise SystemExit(3)"])


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ties lives together on Linux only")
def test_children_end_when_their_owner_is_killed(tmp_path):
    owner_code = f"""
import os, time
from pathlib import Path
from ml.embedded.processes import ProcessGroups
groups = ProcessGroups(Path({str(tmp_path / "processes.json")!r}), dict(os.environ), Path({str(tmp_path)!r}))
groups.start("child", {SLEEPER!r})
print("started", flush=True)
time.sleep(300)
"""
    owner = subprocess.Popen([sys.executable, "-c", owner_code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline() == "started\n"
    child = read_leaders(tmp_path / "processes.json")[0].pid
    assert not _is_gone(child)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    _await(lambda: _is_gone(child))


def test_leftovers_of_a_killed_owner_are_ended(tmp_path):
    left = subprocess.Popen(SLEEPER, start_new_session=True)
    record = tmp_path / "processes.json"
    record.write_text(json.dumps([asdict(Leader("left", left.pid, psutil.Process(left.pid).create_time()))]))
    assert end_leftovers(record) == ["left"]
    assert left.poll() is not None
    assert end_leftovers(record) == []


def test_a_stranger_with_a_recorded_number_is_left_alone(tmp_path):
    stranger = subprocess.Popen(SLEEPER, start_new_session=True)
    record = tmp_path / "processes.json"
    started = psutil.Process(stranger.pid).create_time() - 3600
    record.write_text(json.dumps([asdict(Leader("scheduler", stranger.pid, started))]))
    assert end_leftovers(record) == []
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()
