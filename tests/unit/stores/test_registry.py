from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores import bundles, mlflow_tracking, registry
from ml.stores.bundles import ModelBundle, load_booster, load_bundle, save_bundle

PRODUCT = "recommender"
MONDAY = date(2017, 11, 20)


@pytest.fixture
def settings(configure: Callable[..., Settings]) -> Settings:
    return configure(keep_versions=3)


def _save(settings: Settings, weight: float = 0.95, partition: str = "2017-11-19") -> ModelBundle:
    manifest = {"kind": "baseline", "trained_partition": partition, "config": {"recency_decay": weight}}
    return save_bundle(
        settings, PRODUCT, manifest, {"model.json": b'{"baseline": "recency"}', "reference.parquet": b"PAR1"}
    )


def _promoted(settings: Settings, weight: float) -> str:
    version = _save(settings, weight).version
    registry.promote(settings, PRODUCT, version, MONDAY)
    return version


def test_the_same_content_is_one_version_and_a_changed_parameter_is_another(settings: Settings) -> None:
    first, again, other = _save(settings), _save(settings), _save(settings, weight=0.9)
    assert again == first
    assert other.version != first.version
    assert first.version.startswith("recommender-2017-11-19-")
    assert sorted(path.name for path in first.folder.iterdir()) == ["manifest.json", "model.json", "reference.parquet"]
    assert load_bundle(settings, PRODUCT, first.version) == first
    assert first.manifest["shop_id"] == "completejourney"


@pytest.mark.parametrize("name", ["manifest.json", "model.json", "reference.parquet"])
def test_a_changed_byte_is_refused_in_every_file(settings: Settings, name: str) -> None:
    file = _save(settings).folder / name
    body = file.read_bytes()
    file.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
    with pytest.raises(DataFailed, match=rf"{name}: the bytes do not match"):
        load_bundle(settings, PRODUCT, file.parent.name)


@pytest.mark.parametrize("name", ["manifest.json", "model.json"])
def test_a_missing_file_is_refused(settings: Settings, name: str) -> None:
    bundle = _save(settings)
    (bundle.folder / name).unlink()
    with pytest.raises(DataFailed, match=rf"{name}: a file of the model version is missing"):
        load_bundle(settings, PRODUCT, bundle.version)


def test_a_damaged_bundle_is_replaced_when_the_same_content_is_saved_again(settings: Settings) -> None:
    bundle = _save(settings)
    (bundle.folder / "model.json").write_bytes(b"{}")
    assert _save(settings) == load_bundle(settings, PRODUCT, bundle.version) == bundle


def test_a_save_that_is_cut_off_leaves_nothing_behind(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(_path: Path) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="no space"):
        patched.setattr(bundles, "sync_folder", cut)
        _save(settings)
    assert [path.name for path in (settings.shop_dir / "models" / PRODUCT).iterdir()] == [".lock"]
    assert _save(settings).folder.is_dir()


@pytest.mark.parametrize("name", ["model.pkl", "model.ubj", "../model.json", "manifest.json"])
def test_a_bundle_takes_data_files_only(settings: Settings, name: str) -> None:
    manifest = {"kind": "baseline", "trained_partition": "2017-11-19"}
    with pytest.raises(ValueError, match="a bundle holds files named"):
        save_bundle(settings, PRODUCT, manifest, {name: b"{}"})


def test_a_ranker_is_loaded_from_json_and_from_nothing_else(settings: Settings) -> None:
    import xgboost

    rows = xgboost.DMatrix(np.array([[0.0], [1.0], [2.0], [3.0]]), label=[0, 0, 1, 1], feature_names=["trips_ago"])
    booster = xgboost.train({"max_depth": 1, "nthread": 1}, rows, 2)
    manifest = {"kind": "ranker", "trained_partition": "2017-11-19"}
    good = save_bundle(settings, PRODUCT, manifest, {"model.json": bytes(booster.save_raw("json"))})
    assert load_booster(good).predict(rows).tolist() == booster.predict(rows).tolist()
    binary = save_bundle(settings, PRODUCT, manifest, {"model.json": bytes(booster.save_raw("ubj"))})
    with pytest.raises(DataFailed, match="expected XGBoost's JSON format"):
        load_booster(binary)
    with pytest.raises(DataFailed, match=r"baseline without|is a ranker without"):
        load_booster(save_bundle(settings, PRODUCT, manifest, {"config.json": b"{}"}))


def test_promoting_the_champion_again_changes_nothing(settings: Settings) -> None:
    assert registry.champion(settings, PRODUCT) is None
    version = _save(settings).version
    first = registry.promote(settings, PRODUCT, version, MONDAY)
    pointer = settings.shop_dir / "models" / PRODUCT / "champion.json"
    written = pointer.read_bytes()
    again = registry.promote(settings, PRODUCT, version, date(2017, 12, 4))
    assert (first.before, again.before) == (None, version)
    assert pointer.read_bytes() == written
    assert registry.champion(settings, PRODUCT) == first.champion
    assert first.champion.since_partition == "2017-11-20"
    assert first.alias_problem == "no MLflow server is configured"


def test_rolling_back_twice_goes_back_two_and_then_no_further(settings: Settings) -> None:
    oldest, middle, newest = (_promoted(settings, weight) for weight in (0.7, 0.8, 0.9))
    first = registry.rollback(settings, PRODUCT)
    second = registry.rollback(settings, PRODUCT)
    assert (first.before, first.champion.version) == (newest, middle)
    assert (second.before, second.champion.version) == (middle, oldest)
    bundle = registry.load_champion(settings, PRODUCT)
    assert bundle is not None and bundle.version == oldest
    with pytest.raises(DataFailed, match="no earlier champion"):
        registry.rollback(settings, PRODUCT)


def test_a_version_that_was_rolled_back_is_not_promoted_again(settings: Settings) -> None:
    good, bad = _promoted(settings, 0.7), _promoted(settings, 0.8)
    registry.rollback(settings, PRODUCT)
    with pytest.raises(DataFailed, match="was rolled back"):
        registry.promote(settings, PRODUCT, bad, MONDAY)
    next_one = _promoted(settings, 0.9)
    champion = registry.champion(settings, PRODUCT)
    assert champion is not None and champion.previous is not None
    assert (champion.version, champion.previous.version, champion.withdrawn) == (next_one, good, (bad,))


def test_a_damaged_version_neither_becomes_champion_nor_is_rolled_back_to(settings: Settings) -> None:
    old = _promoted(settings, 0.7)
    new = _promoted(settings, 0.8)
    challenger = _save(settings, 0.9)
    for version in (old, challenger.version):
        (challenger.folder.parent / version / "model.json").write_bytes(b"{}")
    with pytest.raises(DataFailed, match=challenger.version):
        registry.promote(settings, PRODUCT, challenger.version, MONDAY)
    with pytest.raises(DataFailed, match=old):
        registry.rollback(settings, PRODUCT)
    champion = registry.champion(settings, PRODUCT)
    assert champion is not None and champion.version == new


def test_the_pointers_sha256_holds_against_a_manifest_that_was_swapped(settings: Settings) -> None:
    _promoted(settings, 0.7)
    pointer = settings.shop_dir / "models" / PRODUCT / "champion.json"
    champion = registry.champion(settings, PRODUCT)
    assert champion is not None
    pointer.write_text(pointer.read_text().replace(champion.manifest_sha256, "0" * 64))
    with pytest.raises(DataFailed, match="champion pointer's sha256"):
        registry.load_champion(settings, PRODUCT)


def test_an_unreadable_pointer_is_named(settings: Settings) -> None:
    _promoted(settings, 0.7)
    pointer = settings.shop_dir / "models" / PRODUCT / "champion.json"
    pointer.write_bytes(pointer.read_bytes()[:20])
    with pytest.raises(DataFailed, match=r"champion\.json: the champion pointer cannot be read"):
        registry.champion(settings, PRODUCT)


def test_the_pointer_is_written_before_mlflow_hears_of_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []

    def listen(told: Settings, product: str, version: str, *_limits: object) -> str | None:
        pointer = registry.champion(told, product)
        assert pointer is not None
        seen.append((pointer.version, version))
        return "MLflow is down"

    monkeypatch.setattr(mlflow_tracking, "move_alias", listen)
    first, second = _promoted(settings, 0.7), _save(settings, 0.8).version
    assert registry.promote(settings, PRODUCT, second, MONDAY).alias_problem == "MLflow is down"
    assert registry.rollback(settings, PRODUCT).alias_problem == "MLflow is down"
    assert seen == [(first, first), (second, second), (first, first)]


def test_pruning_keeps_the_newest_bundles_and_every_champion_to_go_back_to(settings: Settings) -> None:
    old = [_save(settings, partition=f"2017-10-{day:02d}").version for day in range(1, 6)]
    for version in old[1:3]:
        registry.promote(settings, PRODUCT, version, MONDAY)
    assert registry.prune_bundles(settings, PRODUCT) == [old[0]]
    newer = [_save(settings, partition=f"2017-11-{day:02d}").version for day in range(1, 3)]
    assert registry.prune_bundles(settings, PRODUCT) == [old[3]]
    kept = {path.parent.name for path in (settings.shop_dir / "models" / PRODUCT).glob("*/manifest.json")}
    assert kept == {old[1], old[2], old[4], *newer}
