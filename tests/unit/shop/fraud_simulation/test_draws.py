"""Draws belong to a key, not to a sequence."""

import numpy as np

from ml.shop.fraud_simulation.draws import chosen, keys_of, uniforms


def test_a_keys_draw_is_the_same_in_any_company():
    three = uniforms(keys_of(["a", "b", "c"]), "way", 7)
    assert uniforms(keys_of(["c", "a"]), "way", 7).tolist() == [three[2], three[0]]


def test_streams_and_seeds_differ():
    key = keys_of(["a"])
    assert len({float(uniforms(key, stream, seed)[0]) for stream in ("way", "pick") for seed in (0, 1)}) == 4


def test_draws_are_spread_over_the_unit_interval():
    draws = uniforms(keys_of([str(number) for number in range(10_000)]), "way", 0)
    counts = np.histogram(draws, bins=10, range=(0, 1))[0]
    assert counts.min() > 900
    assert counts.max() < 1_100


def test_weights_are_chosen_by_their_size():
    assert chosen(np.array([0.0, 0.24, 0.26, 0.99]), (1, 1, 2)).tolist() == [0, 0, 1, 2]
