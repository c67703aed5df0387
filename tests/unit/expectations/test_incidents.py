"""Verdicts become incidents, and passing checks close them."""

from datetime import date

import pytest

from expectations.forms import Change, Form
from expectations.incidents import FormChange, tell
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


def changed(change, *rules):
    form = Form(change, ("amount_cents is missing",), ("amount_cents",), frozenset(rules))
    return {f"orders/{MONDAY}.1d.x": FormChange(form, ["fct_orders"]), f"orders/{TUESDAY}.1d.x": FormChange(form)}


def test_a_changed_form_is_told_in_place_of_the_rules_that_say_the_same(operations):
    bad = verdict(("columns_present", Status.FAILED), ("row_count", Status.FAILED))
    tell(operations, [bad], changed(Change.BREAKING, "columns_present"))
    assert open_ones(operations) == {
        ("schema_changed", "orders", "form", "alert"),
        ("gate_failed", "orders", "row_count", "alert"),
    }
    [told] = operations.rows(incidents, kind="schema_changed")
    assert "What changed: amount_cents is missing. It would affect fct_orders." in told["body"]


def test_a_changed_form_is_over_when_a_delivery_passes(operations):
    tell(operations, [verdict(("columns_present", Status.FAILED))], changed(Change.BREAKING, "columns_present"))
    tell(operations, [verdict(("row_count", Status.FAILED), day=TUESDAY)], changed(Change.SAME))
    assert ("schema_changed", "orders", "form", "alert") in open_ones(operations), "it was held for something else"
    tell(operations, [verdict(("row_count", Status.PASSED), day=TUESDAY)], changed(Change.SAME))
    assert open_ones(operations) == set()


def test_an_addition_is_a_warning_until_the_next_delivery_of_the_same_form(operations):
    tell(operations, [verdict(("a", Status.PASSED))], changed(Change.ADDITIVE))
    assert open_ones(operations) == {("schema_changed", "orders", "form_added", "warn")}
    tell(operations, [verdict(("a", Status.PASSED), day=TUESDAY)], changed(Change.SAME))
    assert open_ones(operations) == set()


def test_an_effect_that_is_not_known_is_said_to_be_so():
    form = Form(Change.BREAKING, ("amount_cents is missing",))
    assert "not known" in FormChange(form).sentence()
    assert "nothing that is built" in FormChange(form, []).sentence()
