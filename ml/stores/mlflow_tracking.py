"""What MLflow is told about a model version, through its server only and never for longer than a bound.

MLflow is for people: readers follow the champion pointer (ml.stores.registry). With no server configured nothing is
logged; with one that is down, training fails as a tool and an alias move reports that it did not happen.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ml.outcomes import ToolFailed
from ml.settings import PROJECT_DIR, Settings
from ml.stores.bundles import MANIFEST, ModelBundle, load_booster

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION_ALIAS = "champion"
NOT_CONFIGURED = "no MLflow server is configured"
_VERSION_TAG = "shopwright_version"
# The client's own defaults, 120 s a request and 7 retries, would hold a task for a quarter of an hour.
_LIMITS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",  # requirements are given; it would log the whole lock
    "DO_NOT_TRACK": "1",
}
_REQUIREMENTS = ("xgboost-cpu", "numpy", "pandas")


@dataclass(frozen=True)
class Logged:
    """Where a model version is to be found in MLflow."""

    run_id: str
    registered_name: str
    registered_version: str


def registered_name(settings: Settings, product: str) -> str:
    """Name of a product's experiment and registered model."""
    return f"{settings.shop_id}-{product}"


def log_bundle(
    settings: Settings,
    bundle: ModelBundle,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    pictures: Mapping[str, bytes] | None = None,
) -> Logged | None:
    """Record a bundle as a run and register it as a model version, once however often it is called.

    Registration is the last step: a run that broke off halfway has no model version and no alias.

    Args:
        params: Beside what the manifest says of data, features and configuration.
        pictures: PNG bytes by name.

    Returns:
        None when no server is configured.

    Raises:
        ToolFailed: The server is down or refuses.
    """
    if not settings.mlflow_tracking_uri:
        return None
    from mlflow.exceptions import MlflowException

    name = registered_name(settings, bundle.product)
    with _client(settings) as client:
        known = _find(client, name, bundle.version)
        if known:
            return known
        run_id = _start_run(client, name, bundle)
        try:
            _log_facts(client, run_id, bundle, params or {}, metrics or {})
            for picture, body in (pictures or {}).items():
                _log_bytes(client, run_id, f"pictures/{picture.removesuffix('.png')}.png", body)
            client.log_artifact(run_id, str(bundle.folder / MANIFEST), "bundle")
            if bundle.kind == "ranker":
                source, model_id = _log_model(run_id, bundle)
            else:
                source, model_id = f"runs:/{run_id}/bundle", None
        except BaseException:
            with suppress(MlflowException):
                client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id, "FINISHED")
        _ensure_registered_model(client, name)
        tags = {_VERSION_TAG: bundle.version, "kind": bundle.kind}
        registered = client.create_model_version(
            name, source, run_id, tags=tags, await_creation_for=0, model_id=model_id
        )
        return Logged(run_id, name, str(registered.version))


def is_registered(settings: Settings, product: str, version: str) -> bool:
    """Whether MLflow knows a model version.

    Raises:
        ToolFailed: The server is down or refuses.
    """
    with _client(settings) as client:
        return _find(client, registered_name(settings, product), version) is not None


def alias_version(settings: Settings, product: str) -> str | None:
    """The bundle version that MLflow's champion alias stands at.

    Raises:
        ToolFailed: The server is down or refuses.
    """
    from mlflow.exceptions import MlflowException

    with _client(settings) as client:
        try:
            found = client.get_model_version_by_alias(registered_name(settings, product), CHAMPION_ALIAS)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        tags: dict[str, str] = found.tags
        return tags.get(_VERSION_TAG)


def move_alias(settings: Settings, product: str, version: str) -> str | None:
    """Let MLflow's champion alias follow the pointer.

    Returns:
        Why it was not moved, or None when it was.
    """
    if not settings.mlflow_tracking_uri:
        return NOT_CONFIGURED
    name = registered_name(settings, product)
    try:
        with _client(settings) as client:
            known = _find(client, name, version)
            if known is None:
                return f"MLflow has no version of {name} for {version}"
            client.set_registered_model_alias(name, CHAMPION_ALIAS, known.registered_version)
    except ToolFailed as error:
        return str(error)
    return None


@contextmanager
def _client(settings: Settings) -> Iterator["MlflowClient"]:
    """A client with short limits; whatever MLflow raises inside the block leaves it as ToolFailed."""
    uri = settings.mlflow_tracking_uri
    if not uri:
        raise ToolFailed(NOT_CONFIGURED)
    os.environ.update(_LIMITS)
    import mlflow
    from mlflow.exceptions import MlflowException

    # Once per process: one installation has one server.
    mlflow.set_tracking_uri(uri)
    try:
        yield mlflow.MlflowClient(tracking_uri=uri)
    except (MlflowException, OSError) as error:
        raise ToolFailed(f"the MLflow server at {_address(uri)} did not do its part: {_reason(error, uri)}") from error


def _address(uri: str) -> str:
    """Host and port: a tracking URI may carry a password."""
    return urlsplit(uri).netloc.rpartition("@")[2]


def _reason(error: Exception, uri: str) -> str:
    text = (str(error).splitlines() or [type(error).__name__])[0]
    return text.replace(uri.rstrip("/"), _address(uri))[:200]


def _find(client: "MlflowClient", name: str, version: str) -> Logged | None:
    found = client.search_model_versions(f"name = '{name}' and tags.{_VERSION_TAG} = '{version}'", max_results=1)
    return Logged(str(found[0].run_id), name, str(found[0].version)) if found else None


def _start_run(client: "MlflowClient", name: str, bundle: ModelBundle) -> str:
    experiment = client.get_experiment_by_name(name)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(name)
    tags = {
        _VERSION_TAG: bundle.version,
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
    """Log the ranker in XGBoost's JSON format; requirements and signature are given, for inferring them takes 15 s.

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


def _ensure_registered_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


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
