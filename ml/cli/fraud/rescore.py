"""What was decided without the model is scored once its features are back; where that says more, a person looks.

The decision stays what it was: the customer has been told. The score is kept beside it, and an action that is stricter
than what was done opens a case to review.
"""

import time

from ml.cli.fraud.marks import Mark, read_mark, save_mark
from ml.cli.fraud.settle import DECISION
from ml.fraud.engine import MODEL_STEP, Decided, RuleHistory
from ml.fraud.events import Attempt
from ml.fraud.policy import ACTIONS
from ml.outcomes import DataFailed, ToolFailed
from ml.serving.column_lists import ColumnLists
from ml.serving.decision_record import KeptDecision, read_body
from ml.serving.fraud_parts import FraudParts, fraud_fingerprint, load_fraud
from ml.settings import Settings, wall_clock
from ml.stores import reviews
from ml.stores.fraud_tables import rescorings
from ml.stores.operations import Operations
from ml.stores.serving_log import ServingLog
from ml.stores.state_store import StateStore, StateUnavailable

MARK = "rescore"
RESCORE_BATCH = 100
_LOOK_AGAIN_SECONDS = 5.0
_GONE = "its features are gone: the state has gone on for more than a day since"


class Rescorer:
    """Scores blind decisions afterwards, in the order of the log.

    Args:
        state: As readers see it: a state that is unfit refuses.
    """

    def __init__(self, settings: Settings, operations: Operations, log: ServingLog, state: StateStore) -> None:
        self._settings, self._operations, self._log, self._state = settings, operations, log, state
        self._log_id, self._columns = log.identity(), ColumnLists.from_settings(settings)
        self._mark = read_mark(operations, MARK, self._log_id)
        self._parts: FraudParts | None = None
        self._fingerprint, self._looked_at = "", float("-inf")

    def rescore_waiting(self, until: int) -> int:
        """Score the next blind decisions up to a position that both the state and the record have reached.

        Returns:
            How many decisions were gone through; 0 while there is no model, or the state cannot be read.

        Raises:
            ToolFailed: The record or the log cannot be read or written; nothing is lost by it.
        """
        if until <= self._mark.position:
            return 0
        parts = self._current_parts()
        if parts is None or parts.model_version is None:
            return 0
        waiting = [
            one
            for one in self._log.read_after(self._mark.position, RESCORE_BATCH, (DECISION,))
            if one.position <= until
        ]
        for logged in waiting:
            try:
                kept = read_body(logged.body, self._columns)
            except DataFailed:  # the settler tells of it
                continue
            if kept.answer["step"] == MODEL_STEP:
                continue
            try:
                self._rescore(kept, parts)
            except StateUnavailable:
                return 0
        position = waiting[-1].position if len(waiting) == RESCORE_BATCH else until
        self._mark = Mark(position, {})
        save_mark(self._operations, MARK, self._log_id, self._mark)
        return len(waiting)

    def _current_parts(self) -> FraudParts | None:
        """Model, policy and lists of now; looked for every few seconds."""
        if time.monotonic() - self._looked_at < _LOOK_AGAIN_SECONDS:
            return self._parts
        self._looked_at = time.monotonic()
        fingerprint = fraud_fingerprint(self._settings, self._operations)
        if fingerprint != self._fingerprint:
            try:
                self._parts = load_fraud(self._settings, self._operations)
            except DataFailed:  # the API tells of a model that is refused; the one before goes on here too
                return self._parts
            self._fingerprint = fingerprint
        return self._parts

    def _rescore(self, kept: KeptDecision, parts: FraudParts) -> None:
        attempt = kept.parsed_attempt(self._settings.currency)
        decided, problem = self._decided(attempt, parts)
        answer = kept.answer
        row = {
            "decision_id": answer["decision_id"],
            "order_id": answer["order_id"],
            "score": None if decided is None else decided.probability,
            "action": None if decided is None else decided.action,
            "model_version": parts.model_version,
            "policy_version": parts.policy_version,
            "problem": problem,
            "rescored_at": wall_clock(),
        }
        with self._operations.transaction() as connection:
            statement = self._operations.insert(rescorings).values(**row)
            connection.execute(statement.on_conflict_do_nothing(index_elements=["decision_id"]))
        if decided is not None and ACTIONS.index(decided.action) > ACTIONS.index(answer["action"]):
            reviews.open_case(
                self._operations,
                order_id=answer["order_id"],
                decision_id=answer["decision_id"],
                partition=parts.engine.shop_day(attempt),
                expected_saving_cents=decided.expected_saving_cents,
                note=f"decided without the model; scored since: {decided.action}",
            )

    def _decided(self, attempt: Attempt, parts: FraudParts) -> tuple[Decided | None, str | None]:
        """What the model says now, as of the attempt; or why it says nothing."""
        engine = parts.engine
        try:
            counted = engine.counted(self._state.read(engine.state_keys([attempt])), attempt)
        except StateUnavailable:
            raise
        except ToolFailed:
            return None, _GONE
        decided = engine.decide([attempt], [counted], [None], {}, RuleHistory(), with_hint=False)[0]
        return (decided, None) if decided.step == MODEL_STEP else (None, f"the model cannot score it: {decided.fault}")
