"""The order in which a shop comes to life: history, first training, first lists, first decisions, then day by day.

Each step is skipped when what it makes is there already, so that a second start goes on where the first one ended.
"""

from datetime import date, timedelta

from ml.embedded.chain import (
    BUILD,
    DAY_CHAIN,
    FEATURES,
    FRAUD_LABELS,
    FRAUD_SCORE,
    FRAUD_TRAIN,
    INGEST,
    MONITOR,
    PUBLISH,
    TRAIN,
    Chain,
)
from ml.embedded.landmarks import Landmarks, read_landmarks
from ml.embedded.progress import Progress
from ml.embedded.stack import Stack
from ml.outcomes import ToolFailed
from ml.settings import Settings, wall_clock
from ml.shop.partition_keys import last_day_of, newest_full_week
from ml.stores.operations import Operations


def run_lifecycle(stack: Stack, operations: Operations, replay_days: int, progress: Progress) -> None:
    """Bring the shop to the end of its replayed days.

    Raises:
        StageFailed: A DAG run failed; the later steps were not started.
    """
    lifecycle = _Lifecycle(stack, operations, progress)
    lifecycle.load_history()
    lifecycle.train_first()
    lifecycle.publish_first()
    lifecycle.begin_fraud()
    for day in days_to_replay(stack.settings, replay_days):
        lifecycle.replay(day)


def days_to_replay(settings: Settings, count: int) -> list[date]:
    """The shop days after the bootstrap, as many as were asked for and the source has."""
    yesterday = wall_clock().astimezone(settings.zone).date() - timedelta(days=1)
    newest = min(yesterday, settings.last_day or yesterday)
    days = [settings.bootstrap_day + timedelta(days=offset) for offset in range(1, count + 1)]
    return [day for day in days if day <= newest]


class _Lifecycle:
    def __init__(self, stack: Stack, operations: Operations, progress: Progress) -> None:
        self._stack = stack
        self._settings = stack.settings
        self._operations = operations
        self._progress = progress
        self._chain = Chain(stack.airflow, stack.processes, progress)

    def _landmarks(self) -> Landmarks:
        return read_landmarks(self._settings, self._operations)

    def load_history(self) -> None:
        day = self._settings.bootstrap_day
        if self._landmarks().has_features(day):
            self._progress.line(f"history to {day} is loaded already")
            return
        with self._progress.stage(f"load history {self._settings.first_day} to {day}"):
            self._run_day(day, (INGEST, BUILD, FEATURES), {"first_day": self._settings.first_day.isoformat()})

    def train_first(self) -> None:
        key = newest_full_week(self._settings.bootstrap_day)
        if self._landmarks().has_champion:
            self._progress.line("a champion is there already")
            return
        with self._progress.stage(f"train and promote on the weeks to {last_day_of(key)}"):
            self._chain.follow(self._chain.unfinished([TRAIN], key) or self._chain.start(TRAIN, key))
        if not self._landmarks().has_champion:
            raise ToolFailed("training ended without a champion; `shopwright promotions` shows the verdicts")

    def publish_first(self) -> None:
        """The lists of the bootstrap day: its own run came before the first champion and had nothing to publish."""
        day = self._settings.bootstrap_day
        if self._landmarks().is_done(day):
            return
        with self._progress.stage(f"publish and monitor {day}"):
            run = self._chain.unfinished([PUBLISH, MONITOR], day.isoformat())
            run = run or self._chain.start(PUBLISH, day.isoformat())
            self._chain.follow(run, then=[MONITOR] if run.dag_id == PUBLISH else [])

    def begin_fraud(self) -> None:
        """The first model of fraud, and decisions on the history's last week by it.

        With too little to learn from, there is no model: rules, lists and the stand-in decide from the next day on.
        """
        day = self._settings.bootstrap_day
        landmarks = self._landmarks()
        if not landmarks.has_payments or landmarks.fraud_day is not None:
            return
        origin = "simulated payments" if self._settings.simulates_payments else "the shop's payments"
        if not landmarks.has_fraud_champion:
            key = newest_full_week(day)
            with self._progress.stage(f"train fraud on {origin} to {last_day_of(key)}"):
                run = self._chain.unfinished([FRAUD_TRAIN], key) or self._chain.start(FRAUD_TRAIN, key)
                if not self._chain.follow(run):
                    return
        with self._progress.stage(f"decide the orders of the week to {day}"):
            # The run that the marts of this day started came before the model and had nothing to decide by.
            self._chain.follow(self._chain.start(FRAUD_SCORE, day.isoformat()))

    def replay(self, day: date) -> None:
        landmarks = self._landmarks()
        if landmarks.is_done(day) and landmarks.is_fraud_done(day):
            self._progress.line(f"{day} is done already")
        else:
            with self._progress.stage(f"replay {day}"):
                if not landmarks.is_done(day):
                    self._run_day(day, DAY_CHAIN)
                self._follow_fraud(day)
        for dag_id, decided, name in self._weekly_trainings():
            if self._closes_replayed_week(day) and day not in decided:
                with self._progress.stage(f"weekly training{name} on the weeks to {day}"):
                    self._follow_weekly_training(dag_id, newest_full_week(day))

    def _follow_fraud(self, day: date) -> None:
        """The day's decisions have to be there before the next day comes: what was declined cannot be disputed."""
        if not self._landmarks().has_payments:
            return
        for dag_id in (FRAUD_SCORE, FRAUD_LABELS):
            run = self._chain.find_run(dag_id, day.isoformat())
            self._chain.follow(run or self._chain.start(dag_id, day.isoformat()))

    def _weekly_trainings(self) -> list[tuple[str, frozenset[date], str]]:
        landmarks = self._landmarks()
        found = [(TRAIN, landmarks.decided_days, "")]
        return [*found, (FRAUD_TRAIN, landmarks.fraud_decided_days, " of fraud")] if landmarks.has_payments else found

    def _closes_replayed_week(self, day: date) -> bool:
        return day.weekday() == 6 and day - timedelta(days=6) > self._settings.bootstrap_day

    def _run_day(self, day: date, chain: tuple[str, ...], conf: dict[str, str] | None = None) -> None:
        key = day.isoformat()
        run = self._chain.unfinished(chain, key)
        if run is None:
            run = self._chain.start(INGEST, key, conf)
        self._chain.follow(run, then=chain[chain.index(run.dag_id) + 1 :])

    def _follow_weekly_training(self, dag_id: str, key: str) -> None:
        """The rollup starts it when all seven days are there; if Airflow forgot a day, we do."""
        run = self._chain.find_run(dag_id, key)
        self._chain.follow(run or self._chain.start(dag_id, key))
