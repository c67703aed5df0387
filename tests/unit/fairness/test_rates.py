"""Rates of decisions by group, on frames whose rates are counted by hand."""

import pandas as pd
import pytest

from ml.fairness.rates import METRICS, RateGap, RatesConfig, audit_decisions

CONFIG = RatesConfig(min_customers=2, min_orders=4, min_events=1.0, draws=300)


def decided(group: str, actions: str, frauds: str = "", **columns: object) -> pd.DataFrame:
    """Orders of one group: a letter per order for its action (a, c, r, d) and for its label (1, 0, or ? for none)."""
    names = {"a": "approve", "c": "challenge", "r": "review", "d": "decline"}
    labels = {"1": True, "0": False, "?": None}
    count = len(actions)
    frame = pd.DataFrame(
        {
            "order_id": [f"{group}{n}" for n in range(count)],
            "customer_id": [f"{group}{n}" for n in range(count)],
            "action": [names[one] for one in actions],
            "group": group,
            **columns,
        }
    )
    return frame.assign(is_fraud=pd.Series([labels[one] for one in frauds], dtype="object")) if frauds else frame


def audited(*parts: pd.DataFrame, config: RatesConfig = CONFIG) -> dict[str, RateGap]:
    frame = pd.concat(parts, ignore_index=True)
    gaps = audit_decisions(frame.drop(columns="group"), frame[["order_id", "group"]], config)
    return {gap.metric: gap for gap in gaps}


def test_every_rate_is_counted_over_its_own_orders():
    gaps = audited(
        decided("old", "aaacrd??".replace("?", "a"), "00000011", probability=[0.0] * 6 + [1.0, 1.0]),
        decided("young", "drraaaaa", "11000000", probability=[0.5] * 8),
    )
    assert set(gaps) == set(METRICS)
    assert gaps["decline_rate"].rates == {"old": 1 / 8, "young": 1 / 8}
    assert gaps["review_rate"].rates == {"old": 1 / 8, "young": 2 / 8}
    # Honest orders: 6 of the old, of which a challenge, a review and a decline; 6 of the young, of which a review.
    assert gaps["false_positive_rate"].rates == {"old": 3 / 6, "young": 1 / 6}
    # The old: probabilities add up to 2 for 2 frauds. The young: to 4 for 2 frauds, in 8 orders.
    assert gaps["calibration"].rates == {"old": 0.0, "young": 0.25}


def test_equal_groups_are_fair():
    gaps = audited(decided("a", "aaaaaarr", "00000000"), decided("b", "aaaaaarr", "00000000"))
    assert {gap.verdict for metric, gap in gaps.items() if metric.endswith(("positive_rate", "review_rate"))} == {
        "fair"
    }


def test_a_gap_that_chance_does_not_explain_is_unfair_and_blocks():
    gap = audited(decided("a", "r" * 9 + "a"), decided("b", "a" * 9 + "r"))["review_rate"]
    assert (gap.verdict, gap.blocks) == ("unfair", True)
    assert gap.gap == pytest.approx(0.8)
    assert gap.margin == pytest.approx(0.25)  # half of the rate of all, which is 10 of 20
    assert gap.low > 0.25


def test_a_gap_that_chance_explains_is_suspect_and_blocks_nothing():
    gap = audited(decided("a", "rrraaa"), decided("b", "raaaaa"))["review_rate"]
    assert (gap.verdict, gap.blocks) == ("suspect", False)


def test_an_attribute_that_is_only_reported_blocks_nothing():
    config = RatesConfig(min_customers=2, min_orders=4, min_events=1.0, draws=300, reported_only=("group",))
    gap = audited(decided("a", "r" * 9 + "a"), decided("b", "a" * 9 + "r"), config=config)["review_rate"]
    assert (gap.verdict, gap.blocks) == ("unfair", False)


def test_orders_without_a_mature_label_say_nothing_of_false_alarms():
    gap = audited(decided("a", "raaaa" + "rrrrr", "00000?????"), decided("b", "raaaa", "00000"))["false_positive_rate"]
    assert gap.rates == {"a": 0.2, "b": 0.2}
    assert gap.orders == {"a": 5, "b": 5}


def test_a_decline_let_through_stands_for_those_that_were_not():
    """One honest order of the group was let through with a chance of 1 in 4: it stands for four that were stopped."""
    gap = audited(
        decided(
            "a",
            "aaaard",
            "00000?",
            propensity=[1, 1, 1, 1, 0.25, 0.25],
            would_decline=[False, False, False, False, True, True],
        ),
        decided("b", "aaaaaa", "000000", propensity=1.0, would_decline=False),
        config=RatesConfig(min_customers=2, min_orders=4, min_events=0.4, draws=300),
    )["false_positive_rate"]
    assert gap.rates == {"a": 4 / 8, "b": 0.0}


def test_small_groups_get_no_verdict():
    gap = audited(decided("a", "rrrrr"), decided("b", "aaa"))["review_rate"]
    assert (gap.verdict, gap.gap, gap.rates, gap.orders) == ("too_small", None, {}, {"a": 5, "b": 3})


def test_many_orders_of_one_customer_are_not_many_people():
    lone = decided("a", "rrrrr").assign(customer_id="same")
    assert audited(lone, decided("b", "aaaaa"))["review_rate"].verdict == "too_small"


def test_a_group_too_small_to_have_had_an_event_gets_no_verdict():
    config = RatesConfig(min_customers=2, min_orders=4, min_events=3.0, draws=300)
    gap = audited(decided("a", "rraaaaaaaa"), decided("b", "aaaaa"), config=config)["review_rate"]
    assert gap.verdict == "too_small"


def test_orders_of_one_customer_are_drawn_together():
    alone = audited(decided("a", "rrrraaaa"), decided("b", "aaaaraaa"))["review_rate"]
    twos = [n // 4 for n in range(8)]
    together = audited(
        decided("a", "rrrraaaa").assign(customer_id=[f"a{n}" for n in twos]),
        decided("b", "aaaaraaa").assign(customer_id=[f"b{n}" for n in twos]),
    )["review_rate"]
    assert alone.gap == together.gap
    assert together.high - together.low > alone.high - alone.low


def test_an_order_that_nobody_grouped_is_of_a_group_of_its_own():
    frame = pd.concat([decided("a", "raaaa"), decided("b", "raaaa"), decided("c", "raaaa")], ignore_index=True)
    groups = frame.loc[frame["group"] != "c", ["order_id", "group"]]
    (gap,) = [one for one in audit_decisions(frame, groups, CONFIG) if one.metric == "review_rate"]
    assert gap.orders == {"a": 5, "b": 5, "not given": 5}


def test_an_order_decided_twice_is_refused():
    frame = pd.concat([decided("a", "ra"), decided("a", "ra")], ignore_index=True)
    with pytest.raises(pd.errors.MergeError):
        audit_decisions(frame, decided("a", "ra")[["order_id", "group"]], CONFIG)
