"""Appends of many requests in one transaction: each gets its own answer, and nobody's trouble is another's."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

import ml.stores.group_commit as module
from ml.stores.group_commit import GroupCommitter
from ml.stores.serving_log import Entry, LogUnavailable, Outcome, ServingLog

NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)
_SECONDS = 30


def entry(key: str, digest: str = "d", body: str = "{}") -> Entry:
    return Entry("payment", key, body, digest, NOON)


class HeldLog(ServingLog):
    """Commits when it is let to, and notes the groups."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.may_go, self.has_begun = threading.Event(), threading.Event()
        self.groups: list[int] = []
        self.trouble: LogUnavailable | None = None

    def append_requests(self, requests: Sequence[Sequence[Entry]]) -> list[list[Outcome]]:
        self.has_begun.set()
        assert self.may_go.wait(_SECONDS)
        if self.trouble is not None:
            raise self.trouble
        self.groups.append(len(requests))
        return super().append_requests(requests)


@pytest.fixture
def log(tmp_path: Path) -> HeldLog:
    return HeldLog(tmp_path / "log.db")


@pytest.fixture
def committer(log: HeldLog) -> Iterator[GroupCommitter]:
    made = GroupCommitter(log)
    yield made
    log.may_go.set()
    made.close()


async def begun(log: HeldLog) -> None:
    assert await asyncio.to_thread(log.has_begun.wait, _SECONDS)


async def gathered(
    log: HeldLog, committer: GroupCommitter, requests: Sequence[Sequence[Entry]]
) -> list[list[Outcome] | BaseException]:
    """The first request holds the thread, so that the others wait together."""
    first = asyncio.create_task(committer.append([entry("first")]))
    await begun(log)
    tasks = [asyncio.create_task(committer.append(request)) for request in requests]
    await asyncio.sleep(0)
    log.may_go.set()
    await first
    return await asyncio.gather(*tasks, return_exceptions=True)


def statuses(answers: Sequence[list[Outcome] | BaseException]) -> list[list[str]]:
    return [[outcome.status for outcome in answer] for answer in answers if isinstance(answer, list)]


def test_what_waits_is_committed_together_and_each_is_answered_for_itself(
    log: HeldLog, committer: GroupCommitter
) -> None:
    requests = [[entry("a"), entry("b")], [entry("a")], [entry("b", "other")], []]
    answers = asyncio.run(gathered(log, committer, requests))
    assert statuses(answers) == [["taken", "taken"], ["known"], ["conflict"], []]
    assert log.groups == [1, 3]


def test_a_group_is_not_larger_than_a_transaction_may_be(
    log: HeldLog, committer: GroupCommitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_GROUP", 2)
    answers = asyncio.run(gathered(log, committer, [[entry(key)] for key in "abcde"]))
    assert statuses(answers) == [["taken"]] * 5
    assert log.groups == [1, 2, 2, 1]


def test_one_request_that_cannot_be_kept_does_not_take_the_others_with_it(
    log: HeldLog, committer: GroupCommitter
) -> None:
    answers = asyncio.run(gathered(log, committer, [[entry("a")], [entry("b", body="\ud800")], [entry("c")]]))
    assert statuses([answers[0], answers[2]]) == [["taken"], ["taken"]]
    assert isinstance(answers[1], UnicodeEncodeError)
    assert [one.key for one in log.read_after(0, 10)] == ["first", "a", "c"]


def test_who_waits_is_told_that_the_log_is_unavailable_and_the_next_is_taken(
    log: HeldLog, committer: GroupCommitter
) -> None:
    async def scenario() -> None:
        log.may_go.set()
        log.trouble = LogUnavailable("no room")
        with pytest.raises(LogUnavailable, match="no room"):
            await committer.append([entry("a")])
        assert committer.is_failing
        log.trouble = None
        assert statuses([await committer.append([entry("a")])]) == [["taken"]]
        assert not committer.is_failing

    asyncio.run(scenario())


def test_entries_of_who_gave_up_before_their_transaction_are_withdrawn(log: HeldLog, committer: GroupCommitter) -> None:
    async def scenario() -> None:
        first = asyncio.create_task(committer.append([entry("begun")]))
        await begun(log)
        waiting = asyncio.create_task(committer.append([entry("waiting")]))
        await asyncio.sleep(0)
        first.cancel()
        waiting.cancel()
        await asyncio.gather(first, waiting, return_exceptions=True)
        log.may_go.set()
        assert statuses([await committer.append([entry("begun")])]) == [["known"]]

    asyncio.run(scenario())
    assert [one.key for one in log.read_after(0, 10)] == ["begun"]


def test_no_more_wait_than_may(log: HeldLog, committer: GroupCommitter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    answers = asyncio.run(gathered(log, committer, [[entry(key)] for key in "abc"]))
    assert statuses(answers) == [["taken"], ["taken"]]
    assert isinstance(answers[2], LogUnavailable)
    assert log.find("payment", "c") is None


def test_closing_commits_what_waits_and_takes_nothing_more(log: HeldLog, committer: GroupCommitter) -> None:
    async def scenario() -> None:
        tasks = [asyncio.create_task(committer.append([entry(key)])) for key in "ab"]
        await begun(log)
        log.may_go.set()
        await asyncio.to_thread(committer.close)
        assert statuses(await asyncio.gather(*tasks)) == [["taken"], ["taken"]]
        with pytest.raises(LogUnavailable, match="ending"):
            await committer.append([entry("c")])

    asyncio.run(scenario())
    committer.close()


def test_each_transaction_is_told(log: HeldLog) -> None:
    told: list[int] = []
    seconds: list[float] = []

    def note(took: float, count: int) -> None:
        seconds.append(took)
        told.append(count)

    log.may_go.set()
    committer = GroupCommitter(log, note)
    asyncio.run(committer.append([entry("a")]))
    committer.close()
    assert told == [1]
    assert seconds[0] > 0


def in_a_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_several_loops_share_one_committer(log: HeldLog, committer: GroupCommitter) -> None:
    found: list[str] = []

    def work(key: str) -> None:
        found.extend(outcome.status for outcome in asyncio.run(committer.append([entry(key)])))

    threads = [in_a_thread(lambda key=key: work(key)) for key in "abc"]  # type: ignore[misc]
    log.may_go.set()
    for thread in threads:
        thread.join(_SECONDS)
    assert found == ["taken"] * 3
