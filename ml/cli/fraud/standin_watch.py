"""Tells operators when decisions go without the model for long, or when the stand-in's day is used up."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from ml.alerts.incidents import close_incident, open_incident
from ml.cli.fraud.inputs import PRODUCT
from ml.fraud.engine import MODEL_STEP
from ml.serving.decision_record import KeptDecision
from ml.serving.fraud_parts import active_policy
from ml.settings import Settings
from ml.stores import registry
from ml.stores.operations import Operations, incidents
from ml.stores.serving_log import Logged, ServingLog

KIND = "standin_active"
TOO_LONG = timedelta(minutes=15)
_RULES = {"without_model": "no decision by the model", "day_allowance": "the stand-in's value of the day is used up"}


class StandinWatch:
    """Looks at decisions in their order. What it remembers goes with the place in the log.

    Args:
        detail: `blind_since`: when the first decision without the model was taken, since the last one by it.
    """

    def __init__(self, settings: Settings, operations: Operations, log: ServingLog, detail: dict[str, Any]) -> None:
        self._settings, self._operations, self._log = settings, operations, log
        since = detail.get("blind_since")
        self._blind_since = None if since is None else datetime.fromisoformat(since)

    @property
    def detail(self) -> dict[str, Any]:
        return {"blind_since": None if self._blind_since is None else self._blind_since.isoformat()}

    def see(self, decided: Sequence[tuple[Logged, KeptDecision]]) -> None:
        """Open or close the incident by what these decisions show; before the first champion nothing is missing."""
        if registry.champion(self._settings, PRODUCT) is None:
            self._blind_since = None
            return
        blind = 0
        for logged, kept in decided:
            if kept.answer["step"] == MODEL_STEP:
                self._blind_since, blind = None, 0
            else:
                self._blind_since, blind = self._blind_since or logged.taken_at, blind + 1
        newest = decided[-1][0].taken_at
        day = newest.astimezone(self._settings.zone).date()
        if self._blind_since is None:
            self._close(day)
            return
        if newest - self._blind_since > TOO_LONG:
            minutes = int((newest - self._blind_since).total_seconds() // 60)
            self._open("without_model", day, f"No decision was by the model for {minutes} minutes.")
        if self._is_allowance_used_up(decided[-blind:]):
            self._open("day_allowance", day, "What the stand-in may let through on a day is used up.")

    def _open(self, rule: str, day: date, what: str) -> None:
        open_incident(
            self._operations,
            kind=KIND,
            object=PRODUCT,
            rule=rule,
            partition=day,
            severity="alert",
            title=f"Fraud decisions without the model: {_RULES[rule]}",
            body=f"{what} Decisions go on, by the fallback model and the stand-in's limits, and are scored again once "
            "the features are back. docs/runbooks/standin_active.md.",
        )

    def _close(self, day: date) -> None:
        for incident in self._operations.rows(incidents, kind=KIND, state="open"):
            close_incident(self._operations, kind=KIND, object=PRODUCT, rule=incident["rule"], partition=day)

    def _is_allowance_used_up(self, blind: Sequence[tuple[Logged, KeptDecision]]) -> bool:
        """Whether an order within all other limits of the stand-in was not let through for the day's value."""
        limits = active_policy(self._operations).standin
        refused = [
            kept.attempt
            for _, kept in blind
            if kept.answer["source"] == "standin"
            and kept.answer["action"] != "approve"
            and kept.attempt["amount_cents"] <= limits.amount_cents
        ]
        spent: dict[str, int] = {}
        for attempt in refused:
            day = datetime.fromisoformat(attempt["attempted_at"]).astimezone(self._settings.zone).date().isoformat()
            if day not in spent:
                spent[day] = self._log.spent(day).get("standin_cents", 0)
            if spent[day] + attempt["amount_cents"] > limits.cents_per_day:
                return True
        return False
