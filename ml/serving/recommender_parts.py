"""What recommendations are answered with: the champion, the published version's products and lists, landed consents."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ml.recommender.customer_row import ROW_LAYOUT
from ml.recommender.features import FEATURES
from ml.recommender.online import RecommenderEngine
from ml.recommender.published import snapshot
from ml.recommender.snapshot import EMPTY
from ml.serving.loader import NO_MODEL
from ml.settings import Settings
from ml.stores.bundles import ModelBundle, load_booster, load_bundle
from ml.stores.log_entries import ProfilingConsent
from ml.stores.published_rows import (
    CATALOGUE,
    KNOWN_CUSTOMERS,
    RECOMMENDATIONS,
    STORE_PRODUCTS,
    published_store,
    rows_part,
)
from ml.stores.raw import RawStore
from ml.stores.registry import champion
from ml.stores.versions import Version, VersionStore
from ml.stores.warehouse import marts_store

PRODUCT = "recommender"
_PURPOSE = "profiling"


@dataclass(frozen=True)
class RecommenderParts:
    """One loaded state of the recommender; immutable.

    Attributes:
        model_version: Of the model that ranks rows now; that of the published lists where none does.
        list_version: Model version that made the published lists.
        feature_version: Version of the marts that the features are of, and digest of their definitions; None before
            anything was published.
        rows_version: Id of the customers' rows to read (ml/stores/customer_rows.py); None: nothing ranks rows.
        as_of_date: The lists and rows know the days before it; None before anything was published.
        clock: The shop clock of a replayed shop, by which ages are judged; None: the wall clock.
        consents: Customer -> the newest landed consent about profiling.
        fault: Why rows are not ranked although the champion could, in one word; "" when nothing is wrong.
    """

    engine: RecommenderEngine
    model_version: str | None
    list_version: str | None
    feature_version: str | None
    rows_version: str | None
    as_of_date: date | None
    clock: datetime | None
    consents: Mapping[str, ProfilingConsent]
    fault: str = ""


def recommender_fingerprint(settings: Settings) -> str:
    """Changes when the champion, the published recommendations or what has landed changes; reads four small files."""
    pointers = (
        published_store(settings).root / "CURRENT",
        settings.shop_dir / "models" / PRODUCT / "champion.json",
        RawStore(settings).versions.root / "CURRENT",
        marts_store(settings).root / "CURRENT",
    )
    return sha256(b"\0".join(_bytes(path) for path in pointers)).hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def load_recommender(settings: Settings, model_version: str | None = None) -> RecommenderParts:
    """Load what is published, each byte checked by its sha256.

    Args:
        model_version: The model that ranks, whatever the pointer says; None: the champion; `NO_MODEL`: none, and the
            answers are declared as degraded.

    Raises:
        DataFailed: Something is damaged. That nothing is published yet is no failure: the ladder answers.
    """
    store = published_store(settings)
    version = store.current()
    if version is None or CATALOGUE not in version.tables():  # or only by an older release, for no requests
        engine = RecommenderEngine(EMPTY, None)
        return RecommenderParts(
            engine, None, None, None, None, None, None, landed_consents(settings), "nothing_published"
        )
    held = store.hold(version)  # pruning spares it until it is read
    try:
        return _load(settings, store, version, model_version)
    finally:
        os.close(held)


def _load(settings: Settings, store: VersionStore, version: Version, model_version: str | None) -> RecommenderParts:
    lineage = version.lineage
    bundle = _model(settings, version, model_version)
    part = rows_part(version)
    fault = "model_refused" if model_version == NO_MODEL else _fault(bundle, version)
    ranks = bundle is not None and part is not None and not fault
    tables = {
        name: store.read(version, name, columns).to_pandas()
        for name, columns in (
            (CATALOGUE, None),
            (STORE_PRODUCTS, None),
            (KNOWN_CUSTOMERS, None),
            (RECOMMENDATIONS, ["customer_id", "rank", "product_id", "reason"]),
        )
    }
    engine = RecommenderEngine(
        snapshot(tables[CATALOGUE], tables[STORE_PRODUCTS], tables[KNOWN_CUSTOMERS], tables[RECOMMENDATIONS]),
        load_booster(bundle) if ranks and bundle is not None else None,
        settings.explored_share,
    )
    definitions = "\n".join(f"{name} {digest}" for name, digest in sorted(lineage["fingerprints"].items()))
    return RecommenderParts(
        engine=engine,
        model_version=bundle.version if ranks and bundle is not None else lineage["model_version"],
        list_version=lineage["model_version"],
        feature_version=f"{lineage['marts_version']}/{sha256(definitions.encode()).hexdigest()[:12]}",
        rows_version=part.sha256 if ranks and part is not None else None,
        as_of_date=date.fromisoformat(lineage["as_of_date"]),
        clock=_replayed_clock(settings, lineage["as_of_date"]),
        consents=landed_consents(settings),
        fault=fault,
    )


def _model(settings: Settings, version: Version, model_version: str | None) -> ModelBundle | None:
    """The model that may rank rows: None for a baseline, whose lists are its normal answer."""
    if model_version == NO_MODEL:
        return None
    if model_version is None:
        current = champion(settings, PRODUCT)
        model_version = current.version if current else str(version.lineage["model_version"])
    bundle = load_bundle(settings, PRODUCT, model_version)
    return bundle if bundle.kind == "ranker" else None


def _fault(bundle: ModelBundle | None, version: Version) -> str:
    """Why a ranker cannot rank the published rows: other code wrote them, or its features have changed since.

    Rows that are not there yet, as between the first promotion of a ranker and the next publication, are no fault.
    """
    if bundle is None or rows_part(version) is None:
        return ""
    lineage = version.lineage
    if lineage["row_layout"] != ROW_LAYOUT or tuple(bundle.manifest["features"]) != FEATURES:
        return "other_layout"
    trained_on = bundle.manifest["fingerprints"]
    return "changed_features" if any(lineage["fingerprints"].get(k) != v for k, v in trained_on.items()) else ""


def _replayed_clock(settings: Settings, as_of_date: str) -> datetime | None:
    """The shop clock of a replayed shop: the end of the newest day that its marts cover."""
    if settings.last_day is None:
        return None
    marts = marts_store(settings).current()
    day = settings.day_start(date.fromisoformat(as_of_date))
    if marts is None:
        return day
    return max(day, settings.shop_clock(date.fromisoformat(marts.lineage["target_day"])))


def landed_consents(settings: Settings) -> dict[str, ProfilingConsent]:
    """Each customer's newest landed consent about profiling."""
    columns = ["customer_id", "purpose", "changed_at", "is_granted", "updated_at", "_op"]
    raw = RawStore(settings).versions
    current = raw.current()
    if current is None or not current.parts_of("consents"):
        return {}
    rows: pa.Table = raw.read(current, "consents", columns)
    found = rows.to_pandas()
    found = found[(found["purpose"] == _PURPOSE)]
    # The newest word about a change decides what it says, then the newest change decides for the customer.
    found = found.sort_values(["customer_id", "changed_at", "updated_at"], na_position="first", kind="stable")
    found = found.drop_duplicates(["customer_id", "changed_at"], keep="last")
    found = found[found["_op"] != "delete"].drop_duplicates("customer_id", keep="last")
    return {
        str(customer): ProfilingConsent(changed_at.to_pydatetime(), not is_granted)
        for customer, changed_at, is_granted in zip(
            found["customer_id"], pd.to_datetime(found["changed_at"], utc=True), found["is_granted"], strict=True
        )
    }
