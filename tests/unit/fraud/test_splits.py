"""Days in order of time, with a gap as long as labels take."""

from datetime import UTC, date, datetime

import pytest

from ml.fraud.config import SplitConfig
from ml.fraud.labels import DelayCurve
from ml.fraud.splits import split_at, split_days
from ml.outcomes import DataFailed

DELAY = DelayCurve((0.0, 1.0), maturity_days=30, learnable_days=10, count_frauds=0, is_estimated=True)
CONFIG = SplitConfig(test_days=20, min_test_days=5, calibration_days=14, warm_up_days=7, min_training_days=10)
FIRST = date(2024, 1, 1)


def test_the_test_days_are_the_newest_mature_ones() -> None:
    found = split_days(FIRST, datetime(2024, 6, 30, tzinfo=UTC), DELAY, CONFIG)
    assert (found.test_first, found.test_until) == (date(2024, 5, 11), date(2024, 5, 31))
    assert found.label_moment == datetime(2024, 5, 11, tzinfo=UTC)


def test_between_what_is_learnt_and_what_is_tested_lies_the_delay() -> None:
    found = split_days(FIRST, datetime(2024, 6, 30, tzinfo=UTC), DELAY, CONFIG)
    assert found.train_until == date(2024, 5, 1)
    assert found.calibration_first == date(2024, 4, 17)
    assert found.train_first == date(2024, 1, 8)


def test_a_short_history_gives_up_test_days_and_the_warm_up() -> None:
    # 25 days are old enough: 30 for the test's end, 10 more for the gap.
    found = split_days(FIRST, datetime(2024, 3, 6, tzinfo=UTC), DELAY, CONFIG)
    assert (found.test_until - found.test_first).days == 6
    assert found.train_first == FIRST
    assert (found.train_until - found.calibration_first).days == 4


def test_too_short_a_history_is_refused_with_what_was_expected() -> None:
    with pytest.raises(DataFailed, match=r"9 days of orders are old enough .* at least 15; labels take 30 days"):
        split_days(FIRST, datetime(2024, 2, 19, tzinfo=UTC), DELAY, CONFIG)
    with pytest.raises(DataFailed, match="9 days of orders are old enough to learn from at 2024-01-20"):
        split_at(FIRST, datetime(2024, 1, 20, tzinfo=UTC), date(2024, 2, 1), DELAY, CONFIG)


def test_a_split_is_told_as_dates() -> None:
    found = split_days(FIRST, datetime(2024, 6, 30, tzinfo=UTC), DELAY, CONFIG).as_dict()
    assert found["train_until"] == "2024-05-01"
    assert found["label_moment"] == "2024-05-11T00:00:00+00:00"
