from datetime import date

import pytest

from ml.evaluation.time_splits import monday_cuts, split_cuts
from ml.outcomes import DataFailed


def test_a_cut_needs_its_whole_label_week_and_enough_history() -> None:
    # 2024-01-01 is a Monday; two weeks of history make 2024-01-15 the first cut.
    assert monday_cuts(date(2024, 1, 1), date(2024, 1, 28), 14) == [date(2024, 1, 15), date(2024, 1, 22)]


def test_a_label_week_that_ends_a_day_too_late_is_not_used() -> None:
    assert monday_cuts(date(2024, 1, 1), date(2024, 1, 27), 14) == [date(2024, 1, 15)]


def test_the_first_cut_is_the_monday_after_the_history() -> None:
    assert monday_cuts(date(2024, 1, 3), date(2024, 2, 4), 14)[0] == date(2024, 1, 22)


def test_the_newest_cuts_decide_and_the_ones_before_are_learnt_from() -> None:
    cuts = [date(2024, 1, day) for day in (1, 8, 15, 22, 29)]
    split = split_cuts(cuts, training=2, promotion=2)
    assert split.training == (date(2024, 1, 8), date(2024, 1, 15))
    assert split.promotion == (date(2024, 1, 22), date(2024, 1, 29))


def test_a_short_history_decides_by_one_cut() -> None:
    cuts = [date(2024, 1, day) for day in (1, 8, 15)]
    split = split_cuts(cuts, training=9, promotion=2)
    assert split.training == (date(2024, 1, 1), date(2024, 1, 8))
    assert split.promotion == (date(2024, 1, 15),)


def test_one_label_week_is_too_few() -> None:
    with pytest.raises(DataFailed, match="1 complete label weeks"):
        split_cuts([date(2024, 1, 1)], training=9, promotion=2)
