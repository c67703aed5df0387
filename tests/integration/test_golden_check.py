"""A version is first loaded by a child that may die: damaged, swapped and crashing models are refused, and we live."""

import json
import subprocess
import sys
from datetime import date
from types import SimpleNamespace

import numpy as np
import pytest
import xgboost

from ml.outcomes import DataFailed, ToolFailed
from ml.serving import golden_check
from ml.serving.golden_check import check_in_child
from ml.serving.loader import Loader, Slot
from ml.serving.slots import product_slot
from ml.stores import registry
from ml.stores.bundles import load_booster, load_bundle, save_bundle

DAY = date(2024, 5, 5)


@pytest.fixture
def settings(configure):
    return configure(shop_id="small")


def _model(order: tuple[int, ...] = (0, 1, 2, 3)) -> bytes:
    draw = np.random.default_rng(7)
    rows = draw.random((300, 4))
    trained = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 3, "nthread": 1, "seed": 1},
        xgboost.DMatrix(rows[:, order], (rows[:, 0] > 0.5).astype(int)),
        4,
    )
    return bytes(trained.save_raw("json"))


def _crashing(model: bytes) -> bytes:
    """The same trees, but for their children, which point to where there is nothing."""
    raw = json.loads(model)
    for tree in raw["learner"]["gradient_booster"]["model"]["trees"]:
        for side in ("left_children", "right_children"):
            tree[side] = [10_000_000 if child > 0 else child for child in tree[side]]
    return json.dumps(raw).encode()


def _bundle(settings, model: bytes, number: int = 0, product: str = "fraud"):
    manifest = {"kind": "trees", "trained_partition": DAY.isoformat(), "number": number}
    return save_bundle(settings, product, manifest, {"model.json": model})


def _cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def _flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _swap(path):
    path.write_bytes(_model((3, 2, 1, 0)))


@pytest.mark.parametrize("damage", [_cut, _flip_a_bit, _swap, lambda path: path.unlink()])
def test_a_damaged_file_is_refused(settings, damage):
    bundle = _bundle(settings, _model())
    damage(bundle.folder / "model.json")
    with pytest.raises(DataFailed, match=r"model\.json"):
        check_in_child(settings, "fraud", bundle.version)


def test_a_model_that_crashes_whoever_uses_it_is_refused_and_we_live(settings):
    bundle = _bundle(settings, _crashing(_model()))
    with pytest.raises(DataFailed, match=r"ends the process \(SIG(SEGV|ABRT|BUS)\)"):
        check_in_child(settings, "fraud", bundle.version)


def test_without_the_child_the_crash_would_be_ours(settings):
    """The positive control: the same bytes pass their sha256, load, and end the process that predicts."""
    bundle = _bundle(settings, _crashing(_model()))
    load_booster(load_bundle(settings, "fraud", bundle.version))
    code = (
        "import sys; from pathlib import Path; from ml.settings import Settings; from ml.serving import golden_check; "
        "golden_check.check_version(Settings.model_construct(shop_id=sys.argv[1], state_dir=Path(sys.argv[2])), "
        "'fraud', sys.argv[3])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, settings.shop_id, str(settings.shop_dir.parent), bundle.version], check=False
    )
    assert done.returncode < 0


def test_a_model_without_golden_rows_is_refused(settings):
    bundle = _bundle(settings, _model())
    with pytest.raises(DataFailed, match="golden"):
        check_in_child(settings, "fraud", bundle.version)


def test_a_baseline_has_no_rows_to_repeat(settings):
    manifest = {"kind": "baseline", "trained_partition": DAY.isoformat()}
    check_in_child(settings, "recommender", save_bundle(settings, "recommender", manifest, {}).version)


def test_the_check_leaves_out_what_takes_half_of_its_time(settings):
    """Nothing is served by a new process until its check has ended."""
    version = _bundle(settings, _model()).version
    place = [settings.shop_id, str(settings.shop_dir.parent)]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ml.serving.golden_check", "fraud", version, *place],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "xgboost.core" in done.stderr and "sklearn.base" not in done.stderr


def test_a_model_of_the_other_product_is_refused(settings):
    bundle = _bundle(settings, _model(), product="recommender")
    folder = settings.shop_dir / "models" / "fraud"
    folder.mkdir(parents=True)
    bundle.folder.rename(folder / bundle.version)
    with pytest.raises(DataFailed, match="another product"):
        check_in_child(settings, "fraud", bundle.version)


def test_a_check_that_hangs_says_nothing_about_the_version(settings):
    bundle = _bundle(settings, _model())
    with pytest.raises(ToolFailed, match="did not end"):
        check_in_child(settings, "fraud", bundle.version, seconds=0.01)


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
def test_a_check_that_somebody_ended_says_nothing_about_the_version(settings, monkeypatch, number):
    """As the kernel does when memory is short."""
    ended = [sys.executable, "-c", f"import os, signal; os.kill(os.getpid(), signal.{number})"]
    run = subprocess.run
    monkeypatch.setattr(golden_check.subprocess, "run", lambda _arguments, **more: run(ended, **more))
    with pytest.raises(ToolFailed, match="ended with status"):
        check_in_child(settings, "fraud", "any")


def test_a_crashing_champion_at_the_start_gives_way_to_the_one_before_it(settings):
    manifest = {"kind": "baseline", "trained_partition": DAY.isoformat()}
    good = save_bundle(settings, "fraud", manifest, {})
    registry.promote(settings, "fraud", good.version, DAY)
    registry.promote(settings, "fraud", _bundle(settings, _crashing(_model())).version, DAY)
    slot: Slot = product_slot(settings, "fraud", lambda: "x", lambda version: SimpleNamespace(model_version=version))
    loader = Loader([slot])
    loader.load_now()
    assert slot.current.model_version == good.version
    assert "ends the process" in loader.condition()["fraud"]["refused"]
