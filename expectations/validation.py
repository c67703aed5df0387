"""Runs Great Expectations over a frame, and tells what the data broke from what the tool broke.

Every expectation of our suites carries in its `meta` the rule's name, its scope and what is expected in words
(see `rule_meta`). Results hold counts and positions only: failing values are left out by the result format.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.data_context import EphemeralDataContext
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.expectation import Expectation

from expectations.verdicts import RuleResult, Status

ROW = "row"
"""Judges single rows of a batch as it was delivered; what fails goes to quarantine."""
DELIVERED = "delivered"
"""Judges measures of a batch as it was delivered."""
ACCEPTED = "accepted"
"""Judges measures of what is left of a batch after quarantine and collapsed duplicates."""
DAYS = "days"
"""Judges a batch's rows per event day."""

# Positions instead of values: nothing that a row holds may leave the process through a result.
_RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "exclude_unexpected_values": True,
    "return_unexpected_index_query": False,
}


def rule_meta(rule: str, scope: str, expected: str, **more: Any) -> dict[str, Any]:
    """What an expectation has to carry: the rule's name, its scope, and what is expected in words."""
    return {"rule": rule, "scope": scope, "expected": expected, **more}


@dataclass(frozen=True)
class Finding:
    """What one expectation found.

    Attributes:
        positions: Positions in the frame of the rows that broke a rule about single values.
        observed: What was measured, in words; never a row's value.
    """

    rule: str
    scope: str
    status: Status
    observed: str
    expected: str
    positions: np.ndarray
    meta: Mapping[str, Any]

    def as_result(self) -> RuleResult:
        return RuleResult(
            self.rule,
            ROW if self.scope == ROW else "batch",
            self.status,
            self.observed,
            self.expected,
            len(self.positions),
        )


@lru_cache(maxsize=1)
def _context() -> EphemeralDataContext:
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    return context


def validate(frame: pd.DataFrame, expectations: Sequence[Expectation]) -> list[Finding]:
    """Judge a frame by expectations.

    Args:
        frame: Its index must be 0, 1, 2 ...: findings name rows by it.

    Returns:
        One finding per expectation, in their order. An expectation that raised is `unknown`.
    """
    if not expectations:
        return []
    source = _context().data_sources.add_or_update_pandas("frames")
    definition = source.add_dataframe_asset("frame").add_batch_definition_whole_dataframe("whole")
    suite = gx.ExpectationSuite(name="suite", expectations=list(expectations))
    outcome = definition.get_batch({"dataframe": frame}).validate(suite, result_format=_RESULT_FORMAT)
    found = {result.expectation_config.meta["rule"]: result for result in outcome.results if result.expectation_config}
    return [_finding(expectation.meta or {}, found[(expectation.meta or {})["rule"]]) for expectation in expectations]


def _finding(meta: Mapping[str, Any], result: ExpectationValidationResult) -> Finding:
    raised = _raised(result.exception_info or {})
    positions = np.array((result.result or {}).get("unexpected_index_list") or [], dtype=np.int64)
    if raised:
        # The message of an exception may quote a value, so only its kind is told.
        status, observed = Status.UNKNOWN, f"nothing: the check raised {raised}"
    else:
        failed = Status.SET_ASIDE if meta["scope"] == ROW else Status.FAILED
        status = Status.PASSED if result.success else failed
        observed = _in_words(meta, result.result or {})
    return Finding(meta["rule"], meta["scope"], status, observed, meta["expected"], positions, meta)


def _raised(info: Mapping[str, Any]) -> str | None:
    """Kind of the exception that an expectation raised, if it did; one entry, or one per metric."""
    entries = [info] if "raised_exception" in info else list(info.values())
    for entry in entries:
        if entry["raised_exception"]:
            last_line = str(entry.get("exception_traceback") or "").strip().splitlines()[-1:]
            return last_line[0].split(":", 1)[0].rsplit(".", 1)[-1] if last_line else "an exception"
    return None


def _in_words(meta: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    if "unexpected_count" in result:
        return f"{result['unexpected_count']:,} of {result['element_count']:,} {meta.get('counts', 'rows')} that do not"
    observed = result.get("observed_value")
    if observed is None:
        return "no such value"
    if meta.get("is_day"):
        return date.fromordinal(int(observed)).isoformat()
    if meta.get("is_share"):
        return f"{float(observed):.2%}"
    return f"{observed:,.6g}" if isinstance(observed, float) else f"{observed:,}"
