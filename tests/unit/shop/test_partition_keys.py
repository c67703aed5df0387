from datetime import date

import pytest

from ml.shop.partition_keys import last_day_of, newest_full_week


@pytest.mark.parametrize(
    ("key", "day"),
    [
        ("2017-11-20", date(2017, 11, 20)),
        ("week-2017-11-13", date(2017, 11, 19)),
        ("week-2017-12-25", date(2017, 12, 31)),
    ],
)
def test_a_key_stands_for_its_last_day(key, day):
    assert last_day_of(key) == day


@pytest.mark.parametrize("key", [None, "", "yesterday", "2017-11-31", "week-2017-11-14", "week-", "2017-W46"])
def test_a_key_that_names_no_day_is_refused(key):
    with pytest.raises(ValueError):
        last_day_of(key)


@pytest.mark.parametrize(
    ("day", "key"),
    [
        (date(2017, 11, 19), "week-2017-11-13"),  # a Sunday closes its own week
        (date(2017, 11, 20), "week-2017-11-13"),
        (date(2017, 11, 25), "week-2017-11-13"),
        (date(2017, 11, 26), "week-2017-11-20"),
    ],
)
def test_the_newest_full_week_ends_on_the_last_sunday(day, key):
    assert newest_full_week(day) == key
    assert last_day_of(key) <= day
