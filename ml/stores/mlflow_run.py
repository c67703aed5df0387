"""One run in MLflow: what is recorded of a model version before it is registered."""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.settings import PROJECT_DIR
from ml.stores.bundles import MANIFEST, ModelBundle, load_booster

if TYPE_CHECKING:
    from mlflow import MlflowClient

VERSION_TAG = "shopwright_version"
# Without it, MLflow's page of the experiment opens on traces of language models.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
_REQUIREMENTS = ("xgboost-cpu", "numpy", "pandas")


@dataclass(frozen=True)
class RecordedRun:
    """A finished run.

    Attributes:
        source: URI that a model version is made from.
        model_id: MLflow's id of the logged model; None for a baseline, which is its manifest.
    """

    id: str
    source: str
    model_id: str | None


def record_run(
    client: "MlflowClient",
    experiment: str,
    bundle: ModelBundle,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    pictures: Mapping[str, bytes],
) -> RecordedRun:
    """Record facts, pictures, manifest and model. A run that breaks off is marked as failed.

    Raises:
        MlflowException: The server is down or refuses.
    """
    from mlflow.exceptions import MlflowException

    run_id = _start_run(client, experiment, bundle)
    try:
        _log_facts(client, run_id, bundle, params, metrics)
        for picture, body in pictures.items():
            _log_bytes(client, run_id, f"pictures/{picture.removesuffix('.png')}.png", body)
        client.log_artifact(run_id, str(bundle.folder / MANIFEST), "bundle")
        source, model_id = f"runs:/{run_id}/bundle", None
        if bundle.kind != "baseline":
            source, model_id = _log_model(run_id, bundle)
    except BaseException:
        with suppress(MlflowException):
            client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")
    return RecordedRun(run_id, source, model_id)


def _start_run(client: "MlflowClient", experiment_name: str, bundle: ModelBundle) -> str:
    experiment = client.get_experiment_by_name(experiment_name)
    if experiment:
        experiment_id = experiment.experiment_id
    else:
        experiment_id = client.create_experiment(experiment_name, tags=_EXPERIMENT_TAGS)
    tags = {
        VERSION_TAG: bundle.version,
        "kind": bundle.kind,
        "partition": str(bundle.manifest["trained_partition"]),
        "mlflow.source.git.commit": _git_commit(),
    }
    return str(client.create_run(experiment_id, tags=tags, run_name=bundle.version).info.run_id)


def _log_facts(
    client: "MlflowClient", run_id: str, bundle: ModelBundle, params: Mapping[str, Any], metrics: Mapping[str, float]
) -> None:
    facts = {**_as_params(bundle.manifest), **{key: str(value) for key, value in params.items()}}
    facts["manifest_sha256"] = bundle.manifest_sha256
    from mlflow.entities import Metric, Param
    from mlflow.utils.time import get_current_time_millis

    moment = get_current_time_millis()
    numbers = {**_numbers(bundle.manifest.get("metrics", {})), **metrics}
    client.log_batch(
        run_id,
        metrics=[Metric(key, float(value), moment, 0) for key, value in sorted(numbers.items())],
        params=[Param(key, value[:6000]) for key, value in sorted(facts.items())],
    )


def _as_params(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The manifest's facts as flat text; metrics are logged as metrics."""
    params: dict[str, str] = {}
    for key, value in manifest.items():
        if key == "config" and isinstance(value, Mapping):
            params |= {f"config.{name}": str(setting) for name, setting in value.items()}
        elif key != "metrics":
            params[key] = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return params


def _numbers(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested metrics as flat names (`ranker.ndcg_10`); what is not a number is left out."""
    flat: dict[str, float] = {}
    for key, value in metrics.items():
        # MLflow allows letters, digits and _-. /: in names, so "ndcg@10" needs another spelling.
        name = prefix + "".join(letter if letter.isalnum() or letter in "_-./: " else "_" for letter in str(key))
        if isinstance(value, Mapping):
            flat |= _numbers(value, f"{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            flat[name] = float(value)
    return flat


def _log_bytes(client: "MlflowClient", run_id: str, artifact: str, body: bytes) -> None:
    folder, _, name = artifact.rpartition("/")
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / name
        file.write_bytes(body)
        client.log_artifact(run_id, str(file), folder)


def _log_model(run_id: str, bundle: ModelBundle) -> tuple[str, str]:
    """Log the trees in XGBoost's JSON format; requirements and signature are given, for inferring them takes 15 s.

    Returns:
        The URI that a model version is made from, and MLflow's id of it.
    """
    import mlflow
    import mlflow.xgboost
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    booster = load_booster(bundle)
    inputs = Schema([ColSpec("double", name) for name in booster.feature_names or bundle.manifest.get("features", ())])
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.xgboost.log_model(
            booster,
            name="model",
            model_format="json",
            signature=ModelSignature(inputs=inputs, outputs=Schema([ColSpec("float", "score")])),
            pip_requirements=[f"{package}=={installed_version(package)}" for package in _REQUIREMENTS],
        )
    return str(logged.model_uri), str(logged.model_id)


def _git_commit() -> str:
    """The commit of the code, `unknown` outside a checkout."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=PROJECT_DIR,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip()
