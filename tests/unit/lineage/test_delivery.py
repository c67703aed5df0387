"""The file of events: one JSON a line, whoever writes at the same time and whoever was killed while writing."""

import json
import multiprocessing

import pytest

from ml.lineage import delivery
from ml.lineage.delivery import Delivery, deliver, events_path, note
from ml.settings import Settings
from ml.stores.operations import Operations, monitor_states


def write_many(settings: Settings, who: int) -> None:
    for number in range(25):
        assert deliver(settings, [json.dumps({"who": who, "number": number, "text": "x" * 5000})]).unsent == 0


def lines(settings: Settings) -> list[str]:
    return events_path(settings).read_text().splitlines()


def test_several_processes_write_whole_lines(configure):
    settings = configure()
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=write_many, args=(settings, who)) for who in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    written = {(event["who"], event["number"]) for event in map(json.loads, lines(settings))}
    assert written == {(who, number) for who in range(4) for number in range(25)}


def test_half_a_line_of_a_killed_process_spoils_no_other(configure):
    settings = configure()
    deliver(settings, ['{"a": 1}'])
    with events_path(settings).open("a") as file:
        file.write('{"half": ')
    deliver(settings, ['{"b": 2}'])
    assert lines(settings) == ['{"a": 1}', '{"half": ', '{"b": 2}']


def test_the_file_does_not_grow_without_end(configure, monkeypatch):
    monkeypatch.setattr(delivery, "_MAX_FILE_BYTES", 100)
    settings = configure()
    for number in range(50):
        deliver(settings, [json.dumps({"number": number, "text": "x" * 20})])
    kept = sorted(path.name for path in events_path(settings).parent.glob("events*.jsonl"))
    assert kept == ["events.1.jsonl", "events.jsonl"]
    assert sum(path.stat().st_size for path in events_path(settings).parent.glob("events*.jsonl")) < 400
    assert json.loads(lines(settings)[-1])["number"] == 49


def test_a_file_that_cannot_be_written_is_counted(configure):
    settings = configure()
    events_path(settings).mkdir(parents=True)
    done = deliver(settings, ["{}", "{}"])
    assert done == Delivery(0, 2, "it failed (IsADirectoryError)")
    note(settings, "2024-01-01", done)
    (row,) = Operations.from_settings(settings).rows(monitor_states)
    assert (row["monitor"], row["object"], row["state"], row["value"]) == ("lineage", "events", "warn", 2.0)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://marquez:5000", "http://marquez:5000/api/v1/lineage"),
        ("https://host/", "https://host/api/v1/lineage"),
        ("https://host/own/path?key=1", "https://host/own/path?key=1"),
    ],
)
def test_an_address_without_a_path_has_the_usual_one(url, address):
    assert delivery._address(url) == address
