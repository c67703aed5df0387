"""The promotion rules of the fraud model, on figures made by hand."""

from dataclasses import replace

import pandas as pd
import pytest

from ml.evaluation.bootstrap import Interval
from ml.evaluation.classification_promotion import (
    Challenge,
    Contender,
    PromotionConfig,
    compare,
    judge_challenge,
    measure_challenge,
)
from ml.evaluation.promotion import verdict

CONFIG = PromotionConfig(min_frauds=2, draws=50)
GAIN = Interval(0.2, 0.1, 0.3, 100)
GOOD = Challenge(1000, 50, False, GAIN, GAIN, 900.0, 800.0, 1.1, 400, (), explanation_ms=1.5)
GAP = {"attribute": "age_band", "metric": "decline_rate", "gap": 0.05, "margin": 0.01, "is_gated": True}


def per_order(*probabilities: float, saved: float = 1.0) -> pd.DataFrame:
    """Four orders of three customers; the first and the third are frauds."""
    return pd.DataFrame(
        {
            "order_id": ["o1", "o2", "o3", "o4"],
            "customer_id": ["ann", "ann", "bob", None],
            "is_fraud": [True, False, True, False],
            "weight": [1.0, 1.0, 1.0, 2.0],
            "probability": probabilities,
            "saved_cents": saved,
        }
    )


def test_a_challenge_that_is_good_in_all_is_promoted():
    rules = judge_challenge(GOOD, CONFIG)
    assert [rule.status for rule in rules] == ["passed"] * 8
    assert verdict(rules) == "promoted"


@pytest.mark.parametrize(
    ("change", "rule", "outcome"),
    [
        ({"precision_gain": replace(GAIN, low=0.0)}, "average_precision_gain_low", "refused"),
        (
            {"precision_gain_over_best_baseline": replace(GAIN, low=0.0)},
            "average_precision_gain_low_over_best_baseline",
            "refused",
        ),
        ({"saved_cents": 700.0}, "saved_cents_per_1000_orders", "refused"),
        ({"frauds_over_expected": 3.0}, "frauds_over_expected_high", "refused"),
        ({"frauds_over_expected": 0.2}, "frauds_over_expected_low", "refused"),
        ({"leaves": 50_000}, "model_leaves", "refused"),
        ({"explanation_ms": 3.1}, "explanation_ms", "refused"),
        ({"explanation_ms": None}, "explanation_ms", "unknown"),
        ({"gaps": ({**GAP, "verdict": "unfair"},)}, "decline_rate_gap_age_band", "refused"),
        ({"frauds": 1}, "judged_frauds", "unknown"),
        ({"precision_gain": replace(GAIN, low=float("nan"))}, "average_precision_gain_low", "unknown"),
    ],
)
def test_each_rule_alone_keeps_the_champion(change, rule, outcome):
    rules = judge_challenge(replace(GOOD, **change), CONFIG)
    assert [found.rule for found in rules if not found.passed] == [rule]
    assert verdict(rules) == outcome


def test_a_newer_model_of_the_same_kind_may_lose_a_margin_but_not_more():
    def status(low: float) -> str:
        challenge = replace(GOOD, same_kind=True, precision_gain=replace(GAIN, low=low))
        return judge_challenge(challenge, CONFIG)[1].status

    assert (status(-0.01), status(-0.03)) == ("passed", "failed")


def test_a_gap_that_is_only_reported_or_too_small_to_tell_is_no_rule():
    reported = {**GAP, "verdict": "unfair", "is_gated": False}
    small = {**GAP, "verdict": "too_small", "gap": None, "margin": None}
    rules = judge_challenge(replace(GOOD, gaps=(reported, small)), CONFIG)
    assert verdict(rules) == "promoted"
    assert not any("gap" in rule.rule for rule in rules)


def test_what_is_measured_by_hand():
    """Ours finds both frauds first (1); theirs puts the honest order of weight 2 before one of them."""
    ours = Contender("trees", "trees", per_order(0.9, 0.1, 0.8, 0.2, saved=3.0), leaves=12)
    theirs = Contender("rates", "baseline", per_order(0.9, 0.1, 0.3, 0.8, saved=1.0))
    measured = measure_challenge(ours, theirs, theirs, [], CONFIG)
    assert (measured.orders, measured.frauds, measured.same_kind, measured.leaves) == (4, 2, False, 12)
    # Theirs: one of 1, then two of 4: (1 + 2/4) / 2.
    assert measured.precision_gain.mean == pytest.approx(1 - 0.75)
    assert (measured.saved_cents, measured.opponent_saved_cents) == (3000.0, 1000.0)
    assert measured.frauds_over_expected == pytest.approx(2 / (0.9 + 0.1 + 0.8 + 2 * 0.2))
    assert Challenge.from_dict(measured.as_dict()) == measured


def test_an_order_that_could_not_be_scored_is_looked_at_last():
    ours = Contender("trees", "trees", per_order(0.9, 0.1, float("nan"), 0.2))
    theirs = Contender("rates", "baseline", per_order(0.9, 0.1, 0.8, 0.2))
    assert compare(ours, theirs, CONFIG).mean < 0


def test_methods_judged_on_other_orders_are_not_compared():
    other = per_order(0.1, 0.2, 0.3, 0.4).assign(order_id=["x1", "x2", "x3", "x4"])
    with pytest.raises(AssertionError, match="different orders"):
        compare(Contender("a", "trees", other), Contender("b", "baseline", per_order(0.1, 0.2, 0.3, 0.4)), CONFIG)
