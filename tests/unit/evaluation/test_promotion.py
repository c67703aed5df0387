from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from ml.evaluation.bootstrap import Interval
from ml.evaluation.promotion import (
    Challenge,
    Contender,
    PromotionConfig,
    Rule,
    best,
    group_gap,
    judge_challenge,
    measure_challenge,
    verdict,
)
from ml.evaluation.ranking_metrics import METRICS, Judged

CONFIG = PromotionConfig(min_customers=2, min_group_customers=1, draws=100)


def _challenge(**changes: Any) -> Challenge:
    good = Challenge(
        customers=500,
        same_kind=False,
        ndcg_gain=Interval(0.01, 0.005, 0.015, 500),
        ndcg_gain_over_best_baseline=Interval(0.01, 0.005, 0.015, 500),
        recall_gain=Interval(0.003, 0.001, 0.005, 500),
        coverage=0.2,
        opponent_coverage=0.25,
        leaves=1920,
        gap_growth={"age_band": 0.01},
        explanation_ms=1.5,
    )
    return replace(good, **changes)


def _judged(ndcg: list[float], coverage: float = 0.2) -> Judged:
    rows = pd.DataFrame({"cut": "2024-01-01", "customer_id": [f"c{number}" for number in range(len(ndcg))]})
    return Judged(rows.assign(**dict.fromkeys(METRICS, ndcg)), coverage)


def _by_name(rules: list[Rule]) -> dict[str, Rule]:
    return {rule.rule: rule for rule in rules}


def test_a_challenger_that_is_better_beyond_doubt_is_promoted() -> None:
    rules = judge_challenge(_challenge(), PromotionConfig())
    assert [rule.rule for rule in rules if not rule.passed] == []
    assert verdict(rules) == "promoted"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"ndcg_gain": Interval(0.01, 0.0, 0.02, 500)}, "ndcg_at_10_gain_low"),
        ({"ndcg_gain_over_best_baseline": Interval(0.0, -0.001, 0.02, 500)}, "ndcg_at_10_gain_low_over_best_baseline"),
        ({"recall_gain": Interval(0.0, -0.01, 0.01, 500)}, "recall_at_10_gain_low"),
        ({"coverage": 0.1}, "coverage_over_champion"),
        ({"leaves": 300 * 64}, "model_leaves"),
        ({"gap_growth": {"age_band": 0.04}}, "ndcg_at_10_gap_growth_age_band"),
    ],
)
def test_each_rule_alone_refuses(changes: dict[str, Any], rule: str) -> None:
    rules = judge_challenge(_challenge(**changes), PromotionConfig())
    assert [one.rule for one in rules if one.status == "failed"] == [rule]
    assert verdict(rules) == "refused"


def test_too_few_customers_say_nothing() -> None:
    rules = judge_challenge(_challenge(customers=3), PromotionConfig())
    assert _by_name(rules)["judged_customers"].status == "unknown"
    assert verdict(rules) == "unknown"


def test_what_could_not_be_measured_is_unknown_not_passed() -> None:
    rules = judge_challenge(_challenge(ndcg_gain=Interval(float("nan"), float("nan"), float("nan"), 0)), CONFIG)
    rule = _by_name(rules)["ndcg_at_10_gain_low"]
    assert (rule.status, rule.observed) == ("unknown", None)


def test_a_failure_outweighs_an_unknown() -> None:
    assert verdict([Rule("a", "unknown", None, 1.0), Rule("b", "failed", 0.0, 1.0)]) == "refused"


def test_a_newer_model_of_the_same_kind_may_lose_the_margin_and_no_more() -> None:
    for low, status in ((-0.0019, "passed"), (-0.0021, "failed")):
        challenge = _challenge(same_kind=True, ndcg_gain=Interval(0.0, low, 0.002, 500))
        rules = _by_name(judge_challenge(challenge, PromotionConfig()))
        assert rules["ndcg_at_10_gain_low"].status == status
        assert rules["ndcg_at_10_gain_low"].threshold == -0.002


def test_measuring_pairs_the_same_customers() -> None:
    ours, theirs = _judged([0.5, 0.7, 0.9], 0.1), _judged([0.4, 0.6, 0.8], 0.2)
    groups = pd.DataFrame({"customer_id": ["c0", "c1", "c2"], "age_band": ["young", "old", "old"]})
    found = measure_challenge(
        Contender("ranker", "ranker", ours, leaves=16),
        Contender("recency_count", "baseline", theirs),
        Contender("recency_count", "baseline", theirs),
        groups,
        CONFIG,
    )
    assert found.ndcg_gain.low == pytest.approx(0.1)
    assert found.customers == 3
    assert not found.same_kind
    # old 0.8, young 0.5 against old 0.7, young 0.4: the gap is 0.3 for both.
    assert found.gap_growth == {"age_band": pytest.approx(0.0)}


def test_a_challenge_survives_json() -> None:
    assert Challenge.from_dict(_challenge().as_dict()) == _challenge()


def test_other_customers_are_not_compared() -> None:
    groups = pd.DataFrame({"customer_id": []})
    ours, theirs = Contender("a", "ranker", _judged([0.5])), Contender("b", "baseline", _judged([0.5, 0.4]))
    with pytest.raises(AssertionError, match="share 1"):
        measure_challenge(ours, theirs, theirs, groups, CONFIG)


def test_a_small_group_has_no_gap() -> None:
    judged = _judged([0.9, 0.1, 0.2])
    groups = pd.DataFrame({"customer_id": ["c0", "c1", "c2"], "age_band": ["young", "old", "old"]})
    assert group_gap(judged.per_customer, groups, 1) == pytest.approx(0.75)
    assert group_gap(judged.per_customer, groups, 2) is None


def test_the_best_is_that_of_largest_ndcg() -> None:
    assert best({"popularity": _judged([0.1]), "recency_count": _judged([0.3]), "tifu_knn": _judged([0.2])}) == (
        "recency_count"
    )
