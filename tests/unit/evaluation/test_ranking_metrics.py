import math

import pandas as pd
import pytest

from ml.evaluation.ranking_metrics import Judged, catalogue_coverage, judge_rankings, pool


def _truth(*rows: tuple[str, str, bool]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["customer_id", "product_id", "is_repeat"])


def _shown(customer: str, *products: str) -> pd.DataFrame:
    return pd.DataFrame({"customer_id": customer, "product_id": products, "rank": range(1, len(products) + 1)})


def test_one_customer_by_hand() -> None:
    # Hits at ranks 1 and 3 of a truth of three products.
    truth = _truth(("c", "a", True), ("c", "b", False), ("c", "z", True))
    found = judge_rankings(_shown("c", "a", "x", "b", "y"), truth).iloc[0]
    assert found["recall"] == pytest.approx(2 / 3)
    # Gains 1 and a half, over those of three hits at the top.
    assert found["ndcg"] == pytest.approx(1.5 / 2.13093, abs=1e-5)
    # Precision 1 at the first hit and two thirds at the second, over three products.
    assert found["average_precision"] == pytest.approx(0.55556, abs=1e-5)
    assert found["hit"] == 1.0


def test_repeat_and_explore_parts_have_their_own_truth() -> None:
    truth = _truth(("c", "a", True), ("c", "b", False), ("c", "z", True))
    found = judge_rankings(_shown("c", "a", "x", "b"), truth).iloc[0]
    assert found["recall_repeat"] == 0.5
    assert found["recall_explore"] == 1.0
    assert found["ndcg_repeat"] == pytest.approx(1 / 1.63093, abs=1e-5)
    # Its only hit is at rank 3, its ideal is one hit at rank 1.
    assert found["ndcg_explore"] == pytest.approx(0.5)


def test_a_part_without_truth_is_undefined_not_zero() -> None:
    found = judge_rankings(_shown("c", "a"), _truth(("c", "a", True))).iloc[0]
    assert math.isnan(found["recall_explore"])
    assert math.isnan(found["ndcg_explore"])


def test_the_ideal_is_cut_at_k_and_the_recall_is_not() -> None:
    truth = _truth(*(("c", f"p{number}", True) for number in range(12)))
    found = judge_rankings(_shown("c", *(f"p{number}" for number in range(10))), truth).iloc[0]
    assert found["ndcg"] == pytest.approx(1.0)
    assert found["average_precision"] == pytest.approx(1.0)
    assert found["recall"] == pytest.approx(10 / 12)


def test_what_is_shown_after_the_tenth_place_does_not_count() -> None:
    shown = _shown("c", *(f"x{number}" for number in range(10)), "a")
    assert judge_rankings(shown, _truth(("c", "a", True))).iloc[0]["hit"] == 0.0


def test_a_customer_who_was_shown_nothing_gets_zeros() -> None:
    found = judge_rankings(_shown("other", "a"), _truth(("c", "a", True)))
    assert list(found["customer_id"]) == ["c"]
    assert found.iloc[0][["recall", "ndcg", "average_precision", "hit"]].tolist() == [0.0] * 4


def test_a_pair_that_is_shown_twice_is_refused() -> None:
    with pytest.raises(pd.errors.MergeError):
        judge_rankings(_shown("c", "a", "a"), _truth(("c", "a", True)))


def test_coverage_counts_distinct_products_among_the_first_places() -> None:
    shown = pd.concat([_shown("c", "a", "b"), _shown("d", "a", "e")])
    assert catalogue_coverage(shown, 10) == pytest.approx(0.3)
    assert catalogue_coverage(shown, 10, k=1) == pytest.approx(0.1)


def test_pooled_cuts_weigh_customers_alike_and_average_coverage() -> None:
    first = Judged(judge_rankings(_shown("c", "a"), _truth(("c", "a", True))), 0.2)
    second = Judged(judge_rankings(_shown("x", "a"), _truth(("c", "a", True), ("d", "b", True))), 0.4)
    pooled = pool([first, second]).summary()
    assert pooled["hit_rate_at_10"] == pytest.approx(1 / 3)
    assert pooled["coverage"] == pytest.approx(0.3)
    assert pooled["count_customers"] == 3
