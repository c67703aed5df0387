"""Golden rows: the model of a bundle is the one that was trained, and the inputs are computed as they were then."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ml.fraud import derived
from ml.fraud.attempt_rows import OWN_COLUMNS
from ml.fraud.config import FraudConfig
from ml.fraud.evaluate import JudgedFraud
from ml.fraud.fallback import (
    FALLBACK,
    FALLBACK_TREES,
    fallback_files,
    fallback_from_files,
    fit_fallback,
    judge_fallback,
)
from ml.fraud.golden import GOLDEN, GOLDEN_ROWS, check_golden, golden_file
from ml.fraud.score import MODEL, SCORING
from ml.outcomes import DataFailed
from tests.unit.fraud.attempts import as_read, random_attempts, random_counts, trained


@pytest.fixture(scope="module")
def model():
    return trained()


@pytest.fixture(scope="module")
def blind():
    return replace(trained(columns=OWN_COLUMNS), name="fallback")


@pytest.fixture(scope="module")
def rows():
    return as_read(random_attempts(200, 30), random_counts(200, 31))


@pytest.fixture
def files(model, blind, rows):
    return {**model.files(), **fallback_files(blind), GOLDEN: golden_file(rows, model, blind)}


def changed(files, name, change):
    raw = json.loads(files[name])
    change(raw)
    return {**files, name: json.dumps(raw).encode()}


def test_a_bundle_as_it_was_saved_passes(files, model, rows):
    check_golden(files)
    golden = json.loads(files[GOLDEN])
    assert len(golden["rows"]) == GOLDEN_ROWS
    told = golden["models"]["model"]["probabilities"]
    assert max(told) > 5 * min(told), "rows of one height prove little"
    check_golden({**model.files(), GOLDEN: golden_file(rows, model, None)})


def test_a_bundle_without_golden_rows_is_refused(files):
    with pytest.raises(DataFailed, match=r"golden\.json is missing; retrain"):
        check_golden({name: body for name, body in files.items() if name != GOLDEN})


def test_a_swapped_model_is_refused(files):
    other = trained(seed=8)
    with pytest.raises(DataFailed, match=r"golden rows do not score as at training|inputs of the model are others"):
        check_golden({**files, **other.files()})
    trees = trained(seed=8).files()[MODEL]
    with pytest.raises(DataFailed, match=r"golden rows do not score|damaged"):
        check_golden({**files, MODEL: trees})


def test_inputs_in_another_order_are_refused(files):
    def swap(raw):
        raw["features"][0], raw["features"][1] = raw["features"][1], raw["features"][0]

    with pytest.raises(DataFailed, match="in another order"):
        check_golden(changed(files, SCORING, swap))


def test_a_missing_feature_is_refused(files):
    with pytest.raises(DataFailed, match="the inputs of the model are others"):
        check_golden(changed(files, SCORING, lambda raw: raw["features"].pop()))

    def drop_column(raw):
        place = raw["columns"].index("count_failed_device_1h")
        raw["columns"].pop(place)
        for row in raw["rows"]:
            row.pop(place)

    with pytest.raises(DataFailed, match="do not follow from the golden rows' columns"):
        check_golden(changed(files, GOLDEN, drop_column))


def test_an_input_that_is_computed_otherwise_is_refused(files):
    usual = derived._SHARE.compute
    object.__setattr__(derived._SHARE, "compute", lambda whole, part, _factor: part / (whole + 1))
    try:
        with pytest.raises(DataFailed, match="golden rows do not score as at training"):
            check_golden(files)
    finally:
        object.__setattr__(derived._SHARE, "compute", usual)


def test_a_swapped_fallback_model_and_half_a_fallback_model_are_refused(files):
    other = fallback_files(replace(trained(seed=9, columns=OWN_COLUMNS), name="fallback"))
    with pytest.raises(DataFailed, match=r"\(fallback\)|inputs of the fallback"):
        check_golden({**files, **other})
    with pytest.raises(DataFailed, match=r"fallback_trees\.json is missing"):
        check_golden({name: body for name, body in files.items() if name != FALLBACK_TREES})
    with pytest.raises(DataFailed, match="other models"):
        check_golden({name: body for name, body in files.items() if name not in (FALLBACK, FALLBACK_TREES)})


def test_a_fallback_model_that_needs_counts_is_refused(files, model):
    with pytest.raises(DataFailed, match="more than the request tells"):
        fallback_from_files(fallback_files(model))
    assert fallback_from_files(model.files()) is None
    assert fallback_from_files(files).name == "fallback"


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"columns": [], "rows": [], "models": {}}', b"\xff"])
def test_golden_rows_that_are_none_are_refused(files, text):
    with pytest.raises(DataFailed, match=r"golden\.json"):
        check_golden({**files, GOLDEN: text})


def judged(informed: bool, frauds: int = 60, orders: int = 4000) -> JudgedFraud:
    """A model on its test days: informed, or noise around the right mean."""
    draw = np.random.default_rng(3)
    is_fraud = np.arange(orders) < frauds
    noise = draw.lognormal(0, 0.7, orders)
    probability = np.clip(frauds / orders * noise * np.where(is_fraud & informed, 4, 1), 1e-4, 0.9)
    per_order = pd.DataFrame(
        {
            "order_id": [f"o{number}" for number in range(orders)],
            "customer_id": [f"c{number}" for number in range(orders)],
            "is_fraud": is_fraud,
            "weight": 1.0,
            "probability": probability,
        }
    )
    return JudgedFraud(per_order, FraudConfig().evaluation)


def test_a_fallback_model_is_kept_only_if_better_than_knowing_nothing_beyond_doubt():
    kept = judge_fallback(judged(informed=True), FraudConfig())
    assert (kept.status, kept.observed > 0) == ("passed", True)
    noise = judge_fallback(judged(informed=False), FraudConfig())
    assert (noise.status, noise.observed < 0) == ("failed", True)
    assert judge_fallback(judged(informed=True, frauds=10), FraudConfig()).status == "unknown"


def test_the_fallback_model_learns_from_the_request_alone(rows):
    from tests.fraud_rows import labelled_rows

    learnt = labelled_rows(20_000, 4)
    found = fit_fallback(learnt, FraudConfig())
    assert found is not None
    assert set(found.features) <= {"hour_of_day", "log_amount"}
    assert found.name == "fallback"
    assert fit_fallback(learnt.drop(columns=["hour_of_day", "log_amount", "amount_cents"]), FraudConfig()) is None
