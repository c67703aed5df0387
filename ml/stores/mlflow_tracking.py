"""What MLflow is told about a model version, through its server only and never for longer than a bound.

MLflow is for people: readers follow the champion pointer (ml.stores.registry). With no server configured nothing is
logged; with one that is down, training fails as a tool and an alias move reports that it did not happen.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ml.outcomes import ToolFailed
from ml.settings import Settings
from ml.stores.bundles import ModelBundle
from ml.stores.mlflow_run import VERSION_TAG, RecordedRun, record_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION_ALIAS = "champion"
NOT_CONFIGURED = "no MLflow server is configured"
# Seconds a request and retries. The client's own defaults, 120 and 7, would hold a task for a quarter of an hour.
PATIENT = (30, 2)
QUICK = (5, 1)
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",  # requirements are given; it would log the whole lock
    "DO_NOT_TRACK": "1",
}


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
    name = registered_name(settings, bundle.product)
    with _client(settings) as client:
        known = _find(client, name, bundle.version)
        if known:
            return known
        run = record_run(client, name, bundle, params or {}, metrics or {}, pictures or {})
        return _register(client, name, bundle, run)


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
        return tags.get(VERSION_TAG)


def move_alias(settings: Settings, product: str, version: str, limits: tuple[int, int] = PATIENT) -> str | None:
    """Let MLflow's champion alias follow the pointer.

    Args:
        limits: Seconds a request, and retries.

    Returns:
        Why it was not moved, or None when it was.
    """
    if not settings.mlflow_tracking_uri:
        return NOT_CONFIGURED
    name = registered_name(settings, product)
    try:
        with _client(settings, limits) as client:
            known = _find(client, name, version)
            if known is None:
                return f"MLflow has no version of {name} for {version}"
            client.set_registered_model_alias(name, CHAMPION_ALIAS, known.registered_version)
    except ToolFailed as error:
        return str(error)
    return None


@contextmanager
def _client(settings: Settings, limits: tuple[int, int] = PATIENT) -> Iterator["MlflowClient"]:
    """A client that gives up; whatever MLflow raises inside the block leaves it as ToolFailed."""
    uri = settings.mlflow_tracking_uri
    if not uri:
        raise ToolFailed(NOT_CONFIGURED)
    timeout, retries = (str(limit) for limit in limits)
    bounds = {"MLFLOW_HTTP_REQUEST_TIMEOUT": timeout, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": retries}
    os.environ.update(_ENVIRONMENT, **bounds)
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
    found = _versions(client, name, version)
    return Logged(str(found[0].run_id), name, str(found[0].version)) if found else None


def _versions(client: "MlflowClient", name: str, version: str) -> "list[ModelVersion]":
    found = client.search_model_versions(f"name = '{name}' and tags.{VERSION_TAG} = '{version}'")
    return sorted(found, key=lambda registered: int(registered.version))


def _register(client: "MlflowClient", name: str, bundle: ModelBundle, run: RecordedRun) -> Logged:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {VERSION_TAG: bundle.version, "kind": bundle.kind}
    client.create_model_version(name, run.source, run.id, tags=tags, await_creation_for=0, model_id=run.model_id)
    first, *others = _versions(client, name, bundle.version)
    for twin in others:  # a slow server did what the client gave up on and asked for again
        client.delete_model_version(name, twin.version)
    return Logged(run.id, name, str(first.version))
