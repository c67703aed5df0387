from dataclasses import replace
from datetime import date

import pytest

from ml.embedded import lifecycle
from ml.embedded.airflow_api import Run
from ml.embedded.landmarks import Landmarks
from ml.embedded.lifecycle import days_to_replay, run_lifecycle
from ml.embedded.progress import Progress
from ml.outcomes import ToolFailed

NOTHING = Landmarks(None, False, None, None, frozenset())


class _Shop:
    """Plays Airflow and the stores: a run that is followed to its end moves the landmarks."""

    def __init__(self, settings, landmarks=NOTHING, trains=True, learns_fraud=True):
        self.settings, self.landmarks, self.trains, self.learns_fraud = settings, landmarks, trains, learns_fraud
        self.airflow = self.processes = None
        self.started = []

    def start(self, dag_id, key, conf=None):
        self.started.append((dag_id, key, *([conf] if conf else [])))
        return Run(dag_id, "run", key, "queued", None, None, None)

    def unfinished(self, dag_ids, key):
        return None

    def find_run(self, dag_id, key, since=None):
        return self.start(dag_id, f"{key} by itself")

    def follow(self, run, then=()):
        day = None if run.partition_key.startswith("week") else date.fromisoformat(run.partition_key[:10])
        for dag_id in (run.dag_id, *then):
            if dag_id == "features_materialize":
                self.landmarks = replace(self.landmarks, features_day=day)
            if dag_id == "recommender_train":
                self.landmarks = replace(self.landmarks, has_champion=self.trains)
            if dag_id == "recommender_publish":
                self.landmarks = replace(self.landmarks, published_day=day)
            if dag_id == "fraud_train":
                self.landmarks = replace(self.landmarks, has_fraud_champion=self.learns_fraud)
                return self.learns_fraud
            if dag_id == "fraud_score_backfill":
                self.landmarks = replace(self.landmarks, fraud_day=day)
            if dag_id == "monitoring_check":
                self.landmarks = replace(self.landmarks, monitored_day=day)
        return True


@pytest.fixture
def live(configure, monkeypatch):
    """Runs a lifecycle over a shop whose bootstrap ends on Sunday 2024-05-05; returns what was started."""
    settings = configure(first_day="2024-01-01", bootstrap_day="2024-05-05", last_day="2024-06-30")

    def run(landmarks=NOTHING, replay_days=2, trains=True, learns_fraud=True):
        shop = _Shop(settings, landmarks, trains, learns_fraud)
        monkeypatch.setattr(lifecycle, "Chain", lambda *_: shop)
        monkeypatch.setattr(lifecycle, "read_landmarks", lambda *_: shop.landmarks)
        run_lifecycle(shop, None, replay_days, Progress(lambda _line: None))
        return shop.started

    return run


def test_a_new_shop_is_loaded_trained_published_and_replayed(live):
    assert live() == [
        ("shop_ingest", "2024-05-05", {"first_day": "2024-01-01"}),
        ("recommender_train", "week-2024-04-29"),
        ("recommender_publish", "2024-05-05"),
        ("shop_ingest", "2024-05-06"),
        ("shop_ingest", "2024-05-07"),
    ]


def test_a_second_start_goes_on_where_the_first_one_ended(live):
    done = date(2024, 5, 6)
    assert live(Landmarks(done, True, done, done, frozenset())) == [("shop_ingest", "2024-05-07")]


def test_a_day_that_was_published_but_not_monitored_is_run_again(live):
    day = date(2024, 5, 6)
    started = live(Landmarks(day, True, day, date(2024, 5, 5), frozenset()), replay_days=1)
    assert started == [("shop_ingest", "2024-05-06")]


def test_a_replayed_week_waits_for_its_training(live):
    started = live(replay_days=7)
    assert started[-1] == ("recommender_train", "week-2024-05-06 by itself")
    assert len([dag_id for dag_id, *_ in started if dag_id == "shop_ingest"]) == 8


PAYING = replace(NOTHING, has_payments=True)


def test_a_shop_with_payments_learns_fraud_and_decides_before_the_next_day(live):
    started = live(PAYING, replay_days=1)
    assert started[2:] == [
        ("recommender_publish", "2024-05-05"),
        ("fraud_train", "week-2024-04-29"),
        ("fraud_score_backfill", "2024-05-05"),
        ("shop_ingest", "2024-05-06"),
        ("fraud_score_backfill", "2024-05-06 by itself"),
        ("fraud_labels_ingest", "2024-05-06 by itself"),
    ]


def test_with_too_little_to_learn_the_history_is_not_decided_and_the_days_go_on(live):
    started = live(PAYING, replay_days=1, learns_fraud=False)
    assert ("fraud_score_backfill", "2024-05-05") not in started
    assert ("fraud_score_backfill", "2024-05-06 by itself") in started


def test_a_day_whose_orders_were_not_decided_is_not_done(live):
    done = date(2024, 5, 6)
    landmarks = Landmarks(done, True, done, done, frozenset(), True, True, date(2024, 5, 5))
    assert live(landmarks, replay_days=1) == [
        ("fraud_score_backfill", "2024-05-06 by itself"),
        ("fraud_labels_ingest", "2024-05-06 by itself"),
    ]


def test_a_replayed_week_waits_for_both_trainings(live):
    weekly = [each for each in live(PAYING, replay_days=7) if "by itself" in each[1] and "week" in each[1]]
    assert [dag_id for dag_id, _ in weekly] == ["recommender_train", "fraud_train"]


def test_training_without_a_champion_is_said(live):
    with pytest.raises(ToolFailed, match="without a champion"):
        live(trains=False)


def test_days_end_with_the_source_and_with_yesterday(configure):
    replayed = configure(first_day="2024-01-01", bootstrap_day="2024-05-05", last_day="2024-05-06")
    assert days_to_replay(replayed, 7) == [date(2024, 5, 6)]
    assert days_to_replay(replayed, 0) == []
    future = configure(first_day="2024-01-01", bootstrap_day="2999-01-01", last_day="")
    assert days_to_replay(future, 7) == []
