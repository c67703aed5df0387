"""A ranker that is not the one that was trained is refused."""

import json

import numpy as np
import pytest
import xgboost as xgb

from ml.outcomes import DataFailed
from ml.recommender.features import FEATURES
from ml.recommender.golden import GOLDEN, GOLDEN_ROWS, check_golden, golden_rows


def _inputs(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).random((60, len(FEATURES)), dtype=np.float32)
    values[::7, 3] = np.nan
    return values


def _trained(seed: int, features: tuple[str, ...] = FEATURES) -> xgb.Booster:
    inputs = _inputs(seed)[:, : len(features)]
    matrix = xgb.DMatrix(inputs, label=inputs[:, 0] > 0.5, feature_names=list(features))
    return xgb.train({"max_depth": 2, "nthread": 1}, matrix, num_boost_round=4)


def _files(seed: int = 1) -> dict[str, bytes]:
    booster = _trained(seed)
    return {"model.json": bytes(booster.save_raw("json")), GOLDEN: golden_rows(booster, _inputs(seed))}


def test_the_model_that_was_trained_passes() -> None:
    files = _files()
    check_golden(files)
    assert len(json.loads(files[GOLDEN])["rows"]) == GOLDEN_ROWS


def test_a_swapped_model_is_refused() -> None:
    with pytest.raises(DataFailed, match="another score"):
        check_golden(_files() | {"model.json": bytes(_trained(2).save_raw("json"))})


def test_another_order_of_columns_is_refused() -> None:
    swapped = (FEATURES[1], FEATURES[0], *FEATURES[2:])
    model = _trained(1, swapped)
    with pytest.raises(DataFailed, match=r"model\.json: the features or their order"):
        check_golden(_files() | {"model.json": bytes(model.save_raw("json"))})
    golden = golden_rows(model, _inputs(1))
    with pytest.raises(DataFailed, match=r"golden\.json: the features or their order"):
        check_golden(_files() | {GOLDEN: golden})


def test_a_missing_feature_is_refused() -> None:
    fewer = _trained(1, FEATURES[:-1])
    with pytest.raises(DataFailed, match="features"):
        check_golden(_files() | {"model.json": bytes(fewer.save_raw("json"))})


@pytest.mark.parametrize("name", ["model.json", GOLDEN])
def test_a_missing_or_unreadable_file_is_refused(name: str) -> None:
    files = _files()
    with pytest.raises(DataFailed, match=name):
        check_golden({other: body for other, body in files.items() if other != name})
    with pytest.raises(DataFailed, match=name):
        check_golden(files | {name: files[name][: len(files[name]) // 2]})


def test_a_score_that_is_not_a_number_is_refused() -> None:
    files = _files()
    golden = json.loads(files[GOLDEN])
    golden["scores"][0] = float("nan")
    with pytest.raises(DataFailed, match="another score"):
        check_golden(files | {GOLDEN: json.dumps(golden).encode()})
