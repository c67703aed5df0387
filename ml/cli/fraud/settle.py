"""Decisions of the serving log, written into the operational record: decisions, hits of rules, cases to review.

What is written has a natural key and stays, and the place in the log moves last: after a crash the same decisions are
offered again, and none is there twice. The first decision on an order is the order's decision.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click
import pandas as pd

from ml.cli.fraud.marks import SETTLED, Mark, read_mark, save_mark
from ml.cli.fraud.standin_watch import StandinWatch
from ml.cli.policies_in_force import tell_of_capped_rules
from ml.fraud.rules import HIT_COLUMNS
from ml.outcomes import DataFailed
from ml.serving.column_lists import ColumnLists
from ml.serving.decision_record import KeptDecision, read_body
from ml.serving.fraud_parts import active_policy
from ml.settings import Settings
from ml.stores import decision_log, policies, reviews
from ml.stores.operations import Operations
from ml.stores.serving_log import Logged, ServingLog

SETTLE_BATCH = 200
DECISION = "decision"


class Settler:
    """Takes decisions from the log into the record, in their order."""

    def __init__(self, settings: Settings, operations: Operations, log: ServingLog) -> None:
        self._settings, self._operations, self._log = settings, operations, log
        self._log_id, self._columns = log.identity(), ColumnLists.from_settings(settings)
        self._mark = read_mark(operations, SETTLED, self._log_id)
        self._watch = StandinWatch(settings, operations, log, self._mark.detail)

    @property
    def settled(self) -> int:
        """Position up to which all decisions are in the record."""
        return self._mark.position

    def settle_waiting(self) -> int:
        """Settle the next decisions; returns how many there were.

        Raises:
            ToolFailed: The record or the log cannot be read or written; nothing is lost by it.
        """
        end = self._log.end()
        if end <= self._mark.position:
            return 0
        waiting = self._log.read_after(self._mark.position, SETTLE_BATCH, (DECISION,))
        read = self._read(waiting)
        if read:
            self._record([kept for _, kept in read])
            self._watch.see(read)
        position = waiting[-1].position if waiting else 0
        if len(waiting) < SETTLE_BATCH:  # the log was read to its end, which may have moved on
            position = max(end, position)
        self._mark = Mark(position, self._watch.detail)
        save_mark(self._operations, SETTLED, self._log_id, self._mark)
        return len(waiting)

    def _read(self, waiting: Sequence[Logged]) -> list[tuple[Logged, KeptDecision]]:
        read, unreadable = [], {}
        for logged in waiting:
            try:
                read.append((logged, read_body(logged.body, self._columns)))
            except DataFailed as error:
                unreadable[logged.position] = str(error)
        if unreadable:
            self._log.set_aside(unreadable)
            click.echo(f"{len(unreadable)} decisions of the log cannot be read and are set aside", err=True)
        return read

    def _record(self, decided: Sequence[KeptDecision]) -> None:
        first: dict[str, KeptDecision] = {}
        for kept in decided:
            first.setdefault(kept.answer["order_id"], kept)
        rows = [self._row(kept) for kept in first.values()]
        hits = self._hits(first.values())
        policies.record_rule_hits(self._operations, hits)
        self._tell_of_capped(hits, rows)
        decision_log.record_decisions(self._operations, pd.DataFrame(rows, dtype=object))
        if to_review := [row["order_id"] for row in rows if row["action"] == "review"]:
            reviews.open_cases(self._operations, to_review)

    def _row(self, kept: KeptDecision) -> dict[str, Any]:
        answer, explained, attempt = kept.answer, kept.explained, kept.attempt
        attempted_at = datetime.fromisoformat(attempt["attempted_at"])
        return {
            "decision_id": answer["decision_id"],
            "order_id": answer["order_id"],
            "customer_id": attempt.get("customer_id"),
            "partition": attempted_at.astimezone(self._settings.zone).date().isoformat(),
            "ordered_at": attempted_at,
            "decided_at": datetime.fromisoformat(answer["decided_at"]),
            "amount_cents": attempt["amount_cents"],
            "action": answer["action"],
            "source": answer["source"],
            "score": answer["score"],
            "would_decline": explained["would_decline"],
            "propensity": explained["propensity"],
            "model_version": answer["model_version"],
            "policy_version": answer["policy_version"],
            "marts_version": None,
            "expected_costs": answer["expected_costs_cents"],
            "expected_saving_cents": explained["expected_saving_cents"],
            "reasons": answer["reasons"],
            "rule_trace": explained["rule_trace"],
            "contributions": explained["contributions"],
            "hint": answer["hint"],
        }

    def _hits(self, decided: Iterable[KeptDecision]) -> pd.DataFrame:
        rows = [
            (one["rule"], kept.answer["policy_version"], kept.answer["order_id"], kept.attempt["attempted_at"],
             one["action"], bool(one["capped"]))
            for kept in decided
            for one in kept.explained["rule_trace"]
            if one["kind"] == "rule" and one["matched"]
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=list(HIT_COLUMNS))

    def _tell_of_capped(self, hits: pd.DataFrame, rows: Sequence[dict[str, Any]]) -> None:
        if hits.empty or not hits["is_capped"].any():
            return  # that a breaker stays closed is for a whole day's orders to say, not for these few
        newest = max(datetime.fromisoformat(row["partition"]).date() for row in rows)
        tell_of_capped_rules(self._operations, hits, active_policy(self._operations), newest, closes=False)
