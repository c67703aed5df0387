"""Verdicts of steps that are gates by themselves, so that the record of gates misses none of them."""

import contextlib
from collections.abc import Callable
from datetime import date
from functools import wraps
from typing import Any

from ml.outcomes import DataFailed, ToolFailed
from ml.settings import get_settings
from ml.stores.operations import Operations

Step = Callable[[date], dict[str, Any]]


def recorded(gate: str, object_: str, rule: str, expected: str) -> Callable[[Step], Step]:
    """Record how a step ended: passed, failed where it raises `DataFailed`, unknown where it raises anything else.

    Args:
        gate: Name of the gate in the record.
        object_: What it judges.
        rule: The one rule of the verdict, with what it expects in words.
    """

    def decorate(step: Step) -> Step:
        @wraps(step)
        def judged(partition: date) -> dict[str, Any]:
            try:
                summary = step(partition)
            except DataFailed as error:
                record(partition, "failed", str(error))
                raise
            except Exception as error:
                # The message of an unforeseen error may quote a value, so only its kind is told. A full disk takes
                # no verdict either; that must not hide what the step said.
                with contextlib.suppress(ToolFailed):
                    record(partition, "unknown", f"nothing: the step raised {type(error).__name__}")
                raise
            record(partition, "passed", "all of it")
            return summary

        return judged

    def record(partition: date, status: str, observed: str) -> None:
        found = {
            "rule": rule,
            "scope": "batch",
            "status": status,
            "observed": observed,
            "expected": expected,
            "rows": 0,
        }
        Operations.from_settings(get_settings()).record_verdict(
            gate=gate,
            object=object_,
            batch_id=partition.isoformat(),
            partition=partition.isoformat(),
            status=status,
            rules=[found],
        )

    return decorate
