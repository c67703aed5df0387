"""Verdicts become incidents, and passing checks close them."""

from datetime import date

import pytest

from expectations.incidents import tell
from expectations.verdicts import Gate, RuleResult, Status, Verdict
from ml.settings import Settings
from ml.stores.operations import Operations, alerts, incidents

MONDAY, TUESDAY = date(2024, 1, 1), date(2024, 1, 2)


@pytest.fixture
def operations(tmp_path):
    return Operations.from_settings(Settings(_env_file=None, state_dir=tmp_path, shop_id="tiny"))


def verdict(*rules, day=MONDAY, gate=Gate.ARRIVALS, quarantined=0):
    found = tuple(RuleResult(name, "batch", status, "3", "at most 2", rows=3) for name, status in rules)
    return Verdict(gate, "orders", f"{day}.1d.x", day, found, rows_in=9, rows_quarantined=quarantined)


def open_ones(operations):
    rows = operations.rows(incidents, state="open")
    return {(row["kind"], row["object"], row["rule"], row["severity"]) for row in rows}


def test_each_broken_rule_is_an_incident(operations):
    tell(operations, [verdict(("a", Status.FAILED), ("b", Status.UNKNOWN), ("c", Status.PASSED), ("d", Status.WARNED))])
    assert open_ones(operations) == {
        ("gate_failed", "orders", "a", "alert"),
        ("gate_unknown", "orders", "b", "unknown"),
    }


def test_rows_set_aside_are_a_warning_only_when_they_really_went_to_quarantine(operations):
    tell(operations, [verdict(("a", Status.SET_ASIDE))])
    assert open_ones(operations) == set()
    tell(operations, [verdict(("a", Status.SET_ASIDE), quarantined=3)])
    assert open_ones(operations) == {("rows_set_aside", "orders", "a", "warn")}


def test_a_check_that_passes_later_closes_its_incident_and_no_other(operations):
    tell(operations, [verdict(("a", Status.FAILED), ("b", Status.FAILED))])
    tell(operations, [verdict(("a", Status.PASSED), ("b", Status.FAILED), day=TUESDAY)])
    assert open_ones(operations) == {("gate_failed", "orders", "b", "alert")}


def test_a_check_that_could_not_run_closes_nothing_of_the_data_s_failure(operations):
    tell(operations, [verdict(("a", Status.FAILED))])
    tell(operations, [verdict(("judged", Status.UNKNOWN), day=TUESDAY)])
    assert open_ones(operations) == {
        ("gate_failed", "orders", "a", "alert"),
        ("gate_unknown", "orders", "judged", "unknown"),
    }


def test_a_batch_that_passes_whole_closes_what_its_verdict_no_longer_names(operations):
    tell(operations, [verdict(("bytes_match_manifest", Status.FAILED))])
    tell(operations, [verdict(("a", Status.PASSED), day=TUESDAY)])
    assert open_ones(operations) == set()


def test_that_a_table_was_missing_is_closed_by_its_next_good_arrival(operations):
    tell(operations, [verdict(("arrived", Status.FAILED))])
    tell(operations, [verdict(("a", Status.FAILED), day=TUESDAY)])
    assert ("gate_failed", "orders", "arrived", "alert") in open_ones(operations)
    tell(operations, [verdict(("a", Status.PASSED), day=TUESDAY)])
    assert open_ones(operations) == set()


def test_an_earlier_day_does_not_close_a_later_failure(operations):
    tell(operations, [verdict(("a", Status.FAILED), day=TUESDAY)])
    tell(operations, [verdict(("a", Status.PASSED), day=MONDAY)])
    assert open_ones(operations) == {("gate_failed", "orders", "a", "alert")}


def test_a_mart_and_a_table_of_one_name_are_two_objects(operations):
    tell(operations, [verdict(("a", Status.FAILED)), verdict(("a", Status.FAILED), gate=Gate.MARTS)])
    assert {object_ for _, object_, _, _ in open_ones(operations)} == {"orders", "marts.orders"}


def test_the_same_verdict_twice_alerts_once(operations):
    for _ in range(2):
        tell(operations, [verdict(("a", Status.FAILED))])
    assert len(operations.rows(alerts)) == 1
