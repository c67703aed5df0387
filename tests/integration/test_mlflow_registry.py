"""The champion pointer with a real MLflow server: up, down, and disagreeing."""

import socket
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import xgboost

from ml.outcomes import ToolFailed
from ml.settings import Settings
from ml.stores import mlflow_tracking, registry
from ml.stores.bundles import ModelBundle, save_bundle
from ml.stores.mlflow_tracking import alias_version, is_registered, log_bundle, registered_name
from tests.integration.mlflow_server import free_port, running_mlflow

PRODUCT = "recommender"
DAY = date(2017, 11, 19)
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("mlflow")
    with running_mlflow(folder, free_port()) as address:
        yield address, folder


@pytest.fixture
def settings(configure: Callable[..., Settings], server: tuple[str, Path], request: pytest.FixtureRequest) -> Settings:
    shop = "shop_" + "".join(letter for letter in request.node.name.lower() if letter.isalpha())[-25:]
    return configure(mlflow_tracking_uri=server[0], shop_id=shop)


def _baseline(settings: Settings, decay: float) -> ModelBundle:
    manifest = {
        "kind": "baseline",
        "trained_partition": "2017-11-19",
        "data_version": "v000001-abc",
        "config": {"recency_decay": decay},
        "metrics": {"recency_count": {"ndcg@10": 0.29}},
    }
    return save_bundle(settings, PRODUCT, manifest, {"model.json": b"{}"})


def _ranker(settings: Settings) -> ModelBundle:
    rows = xgboost.DMatrix(np.array([[0.0], [1.0], [2.0], [3.0]]), label=[0, 0, 1, 1], feature_names=["trips_ago"])
    booster = xgboost.train({"max_depth": 1, "nthread": 1}, rows, 2)
    manifest = {"kind": "ranker", "trained_partition": "2017-11-19", "features": ["trips_ago"], "config": {"trees": 2}}
    return save_bundle(settings, PRODUCT, manifest, {"model.json": bytes(booster.save_raw("json"))})


def test_a_ranker_is_logged_once_with_its_facts_pictures_and_model_as_json(
    settings: Settings, server: tuple[str, Path]
) -> None:
    import mlflow

    bundle = _ranker(settings)
    logged = log_bundle(settings, bundle, {"note": "x"}, {"ndcg_gain": 0.01}, {"importance": PNG})
    assert logged is not None
    assert log_bundle(settings, bundle) == logged
    assert logged.registered_name == registered_name(settings, PRODUCT) == f"{settings.shop_id}-recommender"
    client = mlflow.MlflowClient(server[0])
    run = client.get_run(logged.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["manifest_sha256"] == bundle.manifest_sha256
    assert (run.data.params["config.trees"], run.data.params["note"]) == ("2", "x")
    assert run.data.metrics == {"ndcg_gain": 0.01}
    assert len(run.data.tags["mlflow.source.git.commit"]) in (40, len("unknown"))
    assert [item.path for item in client.list_artifacts(logged.run_id, "pictures")] == ["pictures/importance.png"]
    (version,) = client.search_model_versions(f"name = '{logged.registered_name}'")
    model = mlflow.models.get_model_info(f"models:/{logged.registered_name}/{version.version}")
    assert model.signature.inputs.input_names() == ["trips_ago"]
    (folder,) = (server[1] / "artifacts").glob(f"*/models/{model.model_id}/artifacts")
    files = {path.name for path in folder.iterdir()}
    assert files == {"MLmodel", "conda.yaml", "model.json", "python_env.yaml", "requirements.txt"}
    assert f"xgboost-cpu=={xgboost.__version__}" in (folder / "requirements.txt").read_text().splitlines()


def test_the_alias_follows_promotion_and_rollback(settings: Settings) -> None:
    first, second = _baseline(settings, 0.7), _ranker(settings)
    for bundle in (first, second):
        log_bundle(settings, bundle)
        assert registry.promote(settings, PRODUCT, bundle.version, DAY).alias_problem is None
        assert alias_version(settings, PRODUCT) == bundle.version
    assert registry.rollback(settings, PRODUCT).alias_problem is None
    assert alias_version(settings, PRODUCT) == first.version
    assert registry.reconcile(settings, PRODUCT) == []


def test_what_happened_while_the_server_was_down_is_repaired_and_reported(settings: Settings) -> None:
    first, second = _baseline(settings, 0.7), _baseline(settings, 0.8)
    log_bundle(settings, first)
    registry.promote(settings, PRODUCT, first.version, DAY)
    registry.promote(settings, PRODUCT, second.version, DAY)  # promoted by hand, unknown to MLflow
    assert alias_version(settings, PRODUCT) == first.version
    (difference,) = registry.reconcile(settings, PRODUCT)
    assert difference == f"MLflow's champion was {first.version}, the pointer says {second.version}; repaired"
    assert is_registered(settings, PRODUCT, second.version)

    port = free_port()
    down = settings.model_copy(update={"mlflow_tracking_uri": f"http://127.0.0.1:{port}"})
    change = registry.rollback(down, PRODUCT)
    assert change.champion.version == first.version
    assert change.alias_problem is not None
    assert f"MLflow server at 127.0.0.1:{port}" in change.alias_problem
    with pytest.raises(ToolFailed, match="did not do its part"):
        registry.reconcile(down, PRODUCT)
    with pytest.raises(ToolFailed, match="did not do its part"):
        log_bundle(down, _ranker(settings))

    assert alias_version(settings, PRODUCT) == second.version
    assert len(registry.reconcile(settings, PRODUCT)) == 1
    assert alias_version(settings, PRODUCT) == first.version
    assert registry.reconcile(settings, PRODUCT) == []


def test_a_registration_that_a_slow_server_did_twice_counts_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    create = mlflow.MlflowClient.create_model_version

    def create_twice(client: mlflow.MlflowClient, *arguments: object, **options: object) -> object:
        create(client, *arguments, **options)
        return create(client, *arguments, **options)

    monkeypatch.setattr(mlflow.MlflowClient, "create_model_version", create_twice)
    logged = log_bundle(settings, _baseline(settings, 0.7))
    assert logged is not None and logged.registered_version == "1"
    found = mlflow.MlflowClient().search_model_versions(f"name = '{logged.registered_name}'")
    assert [str(version.version) for version in found] == ["1"]


def test_a_run_that_broke_off_is_no_model_version_and_a_second_try_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, server: tuple[str, Path]
) -> None:
    import mlflow

    bundle = _ranker(settings)
    with monkeypatch.context() as patched, pytest.raises(ToolFailed, match="connection reset"):
        patched.setattr("mlflow.xgboost.log_model", _reset)
        log_bundle(settings, bundle)
    assert not is_registered(settings, PRODUCT, bundle.version)
    assert log_bundle(settings, bundle) is not None
    client = mlflow.MlflowClient(server[0])
    experiment = client.get_experiment_by_name(registered_name(settings, PRODUCT))
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    assert [run.info.status for run in runs] == ["FAILED", "FINISHED"]


def _reset(*_args: object, **_options: object) -> None:
    raise ConnectionResetError("connection reset")


def test_a_server_that_never_answers_is_asked_twice_and_then_left(
    configure: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_tracking, "QUICK", (1, 1))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = configure(mlflow_tracking_uri=f"http://127.0.0.1:{silent.getsockname()[1]}")
        unconfigured = settings.model_copy(update={"mlflow_tracking_uri": None})
        first, second = _baseline(settings, 0.7), _baseline(settings, 0.8)
        for bundle in (first, second):
            registry.promote(unconfigured, PRODUCT, bundle.version, DAY)
        change = registry.rollback(settings, PRODUCT)
        assert _waiting(silent) == 2
    assert change.champion.version == first.version
    assert change.alias_problem is not None


def _waiting(listener: socket.socket) -> int:
    listener.setblocking(False)
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_a_password_in_the_servers_address_is_not_told(configure: Callable[..., Settings]) -> None:
    settings = configure(mlflow_tracking_uri=f"http://user:hunter2@127.0.0.1:{free_port()}")
    with pytest.raises(ToolFailed) as failure:
        log_bundle(settings, _baseline(settings, 0.7))
    assert "hunter2" not in str(failure.value)


def test_with_no_server_nothing_is_logged_and_nothing_differs(configure: Callable[..., Settings]) -> None:
    settings = configure()
    bundle = _baseline(settings, 0.7)
    assert log_bundle(settings, bundle) is None
    assert registry.promote(settings, PRODUCT, bundle.version, DAY).alias_problem == "no MLflow server is configured"
    assert registry.reconcile(settings, PRODUCT) == []
