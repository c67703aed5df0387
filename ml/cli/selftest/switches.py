"""Switching gates off: only ever in the self-test's own child process, around one proof."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


@contextmanager
def verdicts_pass(gate: str) -> Iterator[None]:
    """Every verdict of a gate of Great Expectations says passed, whatever its rules found."""
    from expectations.verdicts import Status, Verdict

    status, bad_rules = Verdict.status.fget, Verdict.bad_rules.fget  # type: ignore[attr-defined]  # properties

    def passed(verdict: Verdict) -> Any:
        return Status.PASSED if verdict.gate.value == gate else status(verdict)

    def no_bad_rules(verdict: Verdict) -> Any:
        return () if verdict.gate.value == gate else bad_rules(verdict)

    with patch.object(Verdict, "status", property(passed)), patch.object(Verdict, "bad_rules", property(no_bad_rules)):
        yield
