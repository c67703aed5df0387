from datetime import UTC, date, datetime

import pytest
from pydantic import ValidationError

from ml.settings import Settings, SettingsError, get_settings


def test_all_state_lies_under_the_shop_s_folder(configure, tmp_path):
    assert configure(shop_id="corner_shop").shop_dir == tmp_path / "var" / "corner_shop"


def test_the_shop_clock_is_the_end_of_the_newest_day_in_the_shop_s_zone(configure):
    settings = configure(timezone="America/New_York")
    # 2017-11-19 ends at midnight in New York, five hours before midnight in UTC.
    assert settings.shop_clock(date(2017, 11, 19)) == datetime(2017, 11, 20, 5, tzinfo=UTC)


def test_the_shop_clock_follows_daylight_saving(configure):
    settings = configure(timezone="America/New_York")
    assert settings.shop_clock(date(2017, 7, 1)) == datetime(2017, 7, 2, 4, tzinfo=UTC)


def test_a_shop_may_be_closed_on_a_weekday(configure):
    settings = configure(closed_days='["saturday"]')
    assert [settings.is_closed(date(2026, 1, day)) for day in (2, 3, 4)] == [False, True, False]


def test_closed_days_are_named_by_month_and_day(configure):
    settings = configure(closed_days='["12-25", "01-01"]')
    assert settings.is_closed(date(2031, 12, 25))
    assert not settings.is_closed(date(2031, 12, 26))


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("shop_id", "../etc", "SHOPWRIGHT_SHOP_ID"),
        ("timezone", "Mars/Olympus", "SHOPWRIGHT_TIMEZONE"),
        ("source", "fax", "SHOPWRIGHT_SOURCE"),
        ("source", "files", "SHOPWRIGHT_FILES_DIR"),
        ("replay_days", "-1", "SHOPWRIGHT_REPLAY_DAYS"),
        ("bootstrap_day", "2016-01-01", "SHOPWRIGHT_BOOTSTRAP_DAY"),
        ("last_day", "2016-01-01", "SHOPWRIGHT_LAST_DAY"),
        ("closed_days", '["25.12."]', "SHOPWRIGHT_CLOSED_DAYS"),
        ("closed_days", "not json", "SHOPWRIGHT_CLOSED_DAYS"),
        ("no_such_setting", "1", "SHOPWRIGHT_NO_SUCH_SETTING"),
    ],
)
def test_a_wrong_setting_is_named(configure, name, value, named):
    with pytest.raises(SettingsError, match=named):
        configure(**{name: value})


def test_a_rejected_value_is_not_repeated(configure):
    with pytest.raises(SettingsError) as error:
        configure(alert_urls="mailto://user:canary-secret@example.org")
    assert "canary-secret" not in str(error.value)
    assert get_settings.cache_info().currsize == 0


def test_a_live_shop_has_no_last_day(configure):
    assert configure(last_day="").last_day is None


def test_a_line_of_the_env_file_that_is_no_setting_is_refused_and_that_of_another_program_ignored(tmp_path):
    file = tmp_path / "env"
    file.write_text("POSTGRES_PASSWORD=secret\nSHOPWRIGHT_SHOP_ID=bookshop\n")
    assert Settings(_env_file=file).shop_id == "bookshop"
    file.write_text("SHOPWRIGHT_SHOPID=bookshop\n")
    with pytest.raises(ValidationError, match="shopid"):
        Settings(_env_file=file)
