"""A model whose reasons cost too much is trained again, smaller."""

import time

from ml.evaluation.explanation_budget import FEWEST_TREES, Budgeted, explanation_milliseconds, within_budget


def _cost(trees: int) -> float:
    return 0.05 * trees  # 60 trees cost the 3 ms that are allowed


def test_a_model_within_the_budget_stays_as_it_is() -> None:
    assert within_budget(lambda trees: trees, 50, _cost, 3.0) == Budgeted(50, 50, 2.5, is_shortened=False)


def test_a_model_beyond_the_budget_is_trained_with_fewer_trees() -> None:
    trained = []

    def train(trees: int) -> int:
        trained.append(trees)
        return trees

    found = within_budget(train, 120, _cost, 3.0)
    # 120 trees cost 6 ms: half of them, and a tenth less to be sure.
    assert trained == [120, 54]
    assert found == Budgeted(54, 54, 54 * 0.05, is_shortened=True)


def test_a_model_that_no_shortening_helps_is_given_back_with_its_cost() -> None:
    found = within_budget(lambda trees: trees, 120, lambda _: 30.0, 3.0)
    assert (found.trees, found.milliseconds) == (FEWEST_TREES, 30.0)


def test_only_this_thread_is_counted() -> None:
    assert explanation_milliseconds(lambda: time.sleep(0.005)) < 4.0
