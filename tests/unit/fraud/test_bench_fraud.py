"""Figures of the fraud benchmark: counted once by customer and stretch, drawn many times."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("bench_fraud")


def _orders(count=2000):
    generator = np.random.default_rng(3)
    is_fraud = generator.random(count) < 0.05
    score = 1 / (1 + np.exp(3 - generator.normal(size=count) - 2 * is_fraud))
    customer = np.unique(generator.integers(0, 150, count), return_inverse=True)[1]
    return score, is_fraud, customer, generator.normal(size=count)


@pytest.mark.parametrize("levels", [None, 10])
def test_figures_of_a_draw_are_those_of_the_orders_drawn(bench, levels):
    score, is_fraud, customer, saved = _orders()
    score = score if levels is None else np.round(score * levels) / levels
    counted = bench.fraud_figures.counted(score, is_fraud, customer, saved, True)
    times = bench.fraud_figures.draw_customers(np.arange(customer.max() + 1) % 2, 3, seed=1)
    found = bench.fraud_figures.figures(counted, times)
    for draw in range(3):
        weight = times[customer, draw]
        rows = np.repeat(np.arange(len(score)), weight.astype(int))
        told = found.iloc[draw]
        assert told["average_precision"] == pytest.approx(average_precision_score(is_fraud[rows], score[rows]))
        assert told["saved_cents_per_1000"] == pytest.approx(1000 * saved[rows].mean())
        if levels is None:
            ranked = rows[np.argsort(-score[rows], kind="stable")]
            # A budget may end between the copies of one order, of which a part then counts.
            share = is_fraud[ranked[: int(0.02 * len(rows))]].sum() / is_fraud[rows].sum()
            assert told["recall_at_0.02"] == pytest.approx(share, abs=2 / is_fraud[rows].sum())


def test_orders_of_one_score_are_alerted_together(bench):
    # Two of four orders of the highest score are frauds: half of an alert budget of half of them hits.
    score, is_fraud = np.array([0.9] * 4 + [0.1] * 196), np.array([True, True, False, False] + [False] * 196)
    counted = bench.fraud_figures.counted(score, is_fraud, np.arange(200), np.zeros(200), False)
    found = bench.fraud_figures.figures(counted).iloc[0]
    assert found["average_precision"] == pytest.approx(0.5)
    assert found["recall_at_0.01"] == pytest.approx(0.5)
    assert found["recall_at_0.02"] == pytest.approx(1.0)
    assert "ece" not in found


def test_each_data_set_is_drawn_from_by_itself(bench):
    stratum = np.array([0] * 30 + [1] * 10)
    times = bench.fraud_figures.draw_customers(stratum, 5, seed=0)
    assert times[stratum == 0].sum(axis=0).tolist() == [30.0] * 5
    assert times[stratum == 1].sum(axis=0).tolist() == [10.0] * 5


def test_a_part_leaves_the_parts_of_other_runs_as_they_were(bench, tmp_path):
    path = tmp_path / "fraud.json"
    bench.record("shop", {"orders": 1}, path)
    bench.record("handbook", {"orders": 2}, path)
    bench.record("handbook", {"orders": 3}, path)
    found = json.loads(path.read_text())
    assert (found["shop"]["orders"], found["handbook"]["orders"]) == (1, 3)
    assert {"date", "commit", "machine"} <= found["shop"]["run"].keys()
