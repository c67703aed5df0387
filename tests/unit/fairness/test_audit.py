"""Gaps between groups, on values whose means are known."""

import pandas as pd
import pytest

from ml.fairness.audit import NOT_GIVEN, FairnessConfig, audit_gap, group_customers

CONFIG = FairnessConfig(min_customers=5, draws=400)


def audit(hits: dict[str, list[float]], margin: float = 0.2):
    values = pd.Series([hit for group in hits.values() for hit in group])
    groups = pd.Series([name for name, group in hits.items() for _ in group], name="age_band")
    return audit_gap(values, groups, "hit", margin, CONFIG)


def share(hits: int, of: int) -> list[float]:
    return [1.0] * hits + [0.0] * (of - hits)


def test_equal_groups_are_fair():
    gap = audit({"young": share(6, 10), "old": share(6, 10)})
    assert (gap.verdict, gap.gap, gap.means) == ("fair", 0.0, {"old": 0.6, "young": 0.6})


def test_a_gap_beyond_the_margin_that_chance_does_not_explain_is_unfair():
    gap = audit({"young": share(10, 10), "old": share(1, 10)})
    assert gap.verdict == "unfair"
    assert gap.gap == pytest.approx(0.9)
    assert gap.low > 0.2


def test_a_gap_beyond_the_margin_that_chance_explains_is_suspect():
    gap = audit({"young": share(4, 6), "old": share(2, 6)})
    assert (gap.verdict, round(gap.gap, 3)) == ("suspect", 0.333)
    assert gap.low <= 0.2 <= gap.high


def test_the_interval_is_wider_when_the_pair_was_picked_from_many():
    two = audit({"a": share(9, 10), "b": share(5, 10)})
    five = audit({"a": share(9, 10), "b": share(5, 10), **{name: share(7, 10) for name in "cde"}})
    assert two.gap == five.gap == pytest.approx(0.4)
    assert five.low < two.low


def test_a_small_group_gets_no_verdict_and_no_mean():
    gap = audit({"young": share(6, 10), "old": share(6, 10), "few": share(0, 4)})
    assert gap.verdict == "fair"
    assert "few" not in gap.means
    assert gap.counts == {"few": 4, "old": 10, "young": 10}


def test_one_large_group_alone_cannot_be_compared():
    gap = audit({"young": share(6, 10), "few": share(0, 4)})
    assert (gap.verdict, gap.gap, gap.means) == ("too_small", None, {})


def test_customers_are_grouped_by_what_they_told_and_whether_they_told():
    told = pd.DataFrame({"customer_id": ["a", "b"], "age_band": ["young", None], "gender": [None, None]})
    groups = group_customers(pd.Series(["b", "x", "a"]), told)
    assert groups.to_dict("list") == {
        "age_band": [NOT_GIVEN, NOT_GIVEN, "young"],
        "has_demographics": ["yes", "no", "yes"],
    }


def test_a_customer_told_twice_is_refused():
    told = pd.DataFrame({"customer_id": ["a", "a"], "age_band": ["young", "old"]})
    with pytest.raises(pd.errors.MergeError):
        group_customers(pd.Series(["a"]), told)
