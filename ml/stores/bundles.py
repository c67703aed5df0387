"""Model bundles: immutable folders `models/<product>/<version>/` that hold data and never code.

A bundle is `manifest.json` and the files that it lists with their sha256. Its version is named for its content, so
the same training saved twice is one bundle, and a changed byte no longer fits the name.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores.durable import exclusive_lock, sync_file, sync_folder

if TYPE_CHECKING:
    import xgboost

MANIFEST = "manifest.json"
MODEL = "model.json"
REFERENCE = "reference.parquet"
# A bundle holds data only: nothing in it can carry code, so nothing is ever unpickled.
_DATA_SUFFIXES = (".json", ".parquet")
_KINDS = ("baseline", "ranker", "trees")


@dataclass(frozen=True)
class ModelBundle:
    """One immutable model version whose every file matched its sha256 when it was opened.

    Attributes:
        manifest: As saved, plus `product`, `shop_id` and `files` ({name: sha256}).
        manifest_sha256: SHA-256 of the bytes of `manifest.json`.
        contents: Bytes of the listed files, the very ones that were hashed.
    """

    product: str
    version: str
    folder: Path
    manifest: Mapping[str, Any]
    manifest_sha256: str
    contents: Mapping[str, bytes]

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])


def save_bundle(
    settings: Settings, product: str, manifest: Mapping[str, Any], files: Mapping[str, bytes | Path]
) -> ModelBundle:
    """Save a model version: wholly there or not at all.

    Args:
        manifest: JSON-able and free of wall-clock time; needs `kind` ("baseline", "ranker" or "trees") and
            `trained_partition` (YYYY-MM-DD). It and the files' bytes decide the version's name.
        files: Data files by name, as bytes or as a path to copy.

    Raises:
        ValueError: A key is missing, or a file is of a kind that could carry code.
    """
    if manifest.get("kind") not in _KINDS or "trained_partition" not in manifest:
        raise ValueError(f"a manifest needs kind (one of {', '.join(_KINDS)}) and trained_partition")
    for name in files:
        if not name.endswith(_DATA_SUFFIXES) or Path(name).name != name or name == MANIFEST:
            raise ValueError(f"{name}: a bundle holds files named *{' or *'.join(_DATA_SUFFIXES)} beside {MANIFEST}")
    contents = {
        name: body.read_bytes() if isinstance(body, Path) else bytes(body) for name, body in sorted(files.items())
    }
    complete = {
        **manifest,
        "product": product,
        "shop_id": settings.shop_id,
        "files": {name: _sha256(body) for name, body in contents.items()},
    }
    manifest_bytes = json.dumps(complete, sort_keys=True, indent=1, allow_nan=False).encode()
    version = _version_name(product, complete["trained_partition"], manifest_bytes)
    folder = product_dir(settings, product) / version
    with exclusive_lock(folder.parent / ".lock"):
        if folder.exists():
            try:
                return load_bundle(settings, product, version)
            except DataFailed:
                shutil.rmtree(folder)  # damaged; the same content takes its place
        _write_folder(folder, {**contents, MANIFEST: manifest_bytes})
    return ModelBundle(product, version, folder, complete, _sha256(manifest_bytes), contents)


def load_bundle(settings: Settings, product: str, version: str) -> ModelBundle:
    """Open a model version. Every byte is hashed before anything is parsed.

    Raises:
        DataFailed: The version or one of its files is missing, or does not match its sha256.
    """
    folder = product_dir(settings, product) / version
    manifest_bytes = _read(folder / MANIFEST)
    if not version.endswith(f"-{_sha256(manifest_bytes)[:8]}"):
        raise DataFailed(f"{folder / MANIFEST}: the bytes do not match the version's name; retrain or roll back")
    manifest = json.loads(manifest_bytes)
    contents = {}
    for name, expected in manifest["files"].items():
        contents[name] = _read(folder / name)
        if _sha256(contents[name]) != expected:
            raise DataFailed(f"{folder / name}: the bytes do not match the manifest's sha256; retrain or roll back")
    return ModelBundle(product, version, folder, manifest, _sha256(manifest_bytes), contents)


def load_booster(bundle: ModelBundle) -> "xgboost.Booster":
    """The trees of a bundle, from the bytes that were hashed and only in XGBoost's JSON format.

    Raises:
        DataFailed: The bundle has no trees, or its bytes are not JSON.
    """
    import xgboost

    body = bundle.contents.get(MODEL)
    if body is None:
        raise DataFailed(f"{bundle.version} is a {bundle.kind} without {MODEL}")
    try:
        json.loads(body)  # XGBoost guesses the format from the bytes, and a cut binary model crashes the process
    except ValueError:
        raise DataFailed(f"{bundle.folder / MODEL}: expected XGBoost's JSON format") from None
    booster = xgboost.Booster()
    booster.load_model(bytearray(body))
    return booster


def product_dir(settings: Settings, product: str) -> Path:
    """Folder of a product's bundles and of its champion pointer."""
    return settings.shop_dir / "models" / product


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _version_name(product: str, partition: str, manifest_bytes: bytes) -> str:
    return f"{product}-{partition}-{_sha256(manifest_bytes)[:8]}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise DataFailed(f"{path}: a file of the model version is missing; retrain or roll back") from None


def _write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".bundle-"))
    try:
        for name, body in contents.items():
            (temporary / name).write_bytes(body)
            sync_file(temporary / name)
        temporary.chmod(0o755)
        sync_folder(temporary)
        temporary.replace(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(folder.parent)
