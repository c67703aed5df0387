"""Online feature values: the newest published value of each customer, written once and never put back in time.

Feast's SQLite store overwrites without comparing event times and hands out values of any age as present. So a
watermark guards writing, values are checked before they are written, and ages are checked on read.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores.durable import exclusive_lock, write_durably
from ml.stores.feast_repo import (
    apply_if_changed,
    declared_features,
    definitions_hash,
    features_dir,
    online_path,
    open_feature_store,
)
from ml.stores.features import MOMENT, as_declared, current_rows, historical_features, offline_folder, parts_in_reach
from ml.stores.landing import Landing
from ml.stores.warehouse import Marts, open_marts

ONLINE_VIEW = "feat_customer"
ONLINE_SERVICE = "recommender_customer"
ONLINE_KEY = "customer_id"
PARITY_SAMPLE = 200


@dataclass(frozen=True)
class Watermark:
    """What the online store holds.

    Attributes:
        day: Newest shop day whose data was materialized, YYYY-MM-DD.
        inputs: Hash of the parts and declarations that it was written from.
    """

    day: str
    marts_version: str
    inputs: str


@dataclass(frozen=True)
class Materialization:
    """What `materialize` did.

    Attributes:
        outcome: "older" when the online store already holds a newer day, "unchanged" when it holds exactly this.
        entities: Entities written.
    """

    outcome: Literal["written", "unchanged", "older"]
    day: date
    applied: bool
    entities: int


@dataclass(frozen=True)
class Parity:
    """How a sample of customers compares between online and offline.

    Attributes:
        differences: One sentence per feature that differs: its name and for how many customers, never a value.
    """

    sampled: int
    differences: tuple[str, ...]


def watermark(settings: Settings) -> Watermark | None:
    """What the online store holds; None before the first materialization."""
    path = _watermark_path(settings)
    return Watermark(**json.loads(path.read_bytes())) if path.exists() else None


def materialize(settings: Settings, marts: Marts) -> Materialization:
    """Bring the online store to the state of the published marts, whatever it holds.

    Every customer's newest row within the ttl is written, not only the day's: a customer who left the current rows
    goes back to Monday's value, so that the end state does not depend on which days ran, or in which order. What was
    written from marts that were rolled back from is all forgotten first, also where it was of a newer day.

    Raises:
        DataFailed: A value is not finite, an event time is after the shop clock, or a key is null or repeated.
    """
    day = marts.target_day
    clock = settings.shop_clock(day)
    with exclusive_lock(features_dir(settings) / ".lock"):
        held = watermark(settings)
        is_withdrawn = held is not None and held.marts_version in marts.store.withdrawn()
        if is_withdrawn:
            online_path(settings).unlink(missing_ok=True)  # made anew by apply
        applied = apply_if_changed(settings)
        if held is not None and day < date.fromisoformat(held.day) and not is_withdrawn:
            return Materialization("older", day, applied, 0)
        rows = current_rows(settings, marts, ONLINE_VIEW, clock)
        store = open_feature_store(settings, features_dir(settings))
        view = store.get_feature_view(ONLINE_VIEW)
        check_rows(rows, list(declared_features(store, ONLINE_SERVICE)), clock)
        parts = parts_in_reach(settings, marts, view, clock)
        inputs = hashlib.sha256(
            "\n".join([definitions_hash(settings), *(part.sha256 for part in parts)]).encode()
        ).hexdigest()
        reached = Watermark(day.isoformat(), marts.version.id, inputs)
        if not applied and held is not None and held.inputs == inputs and held.day == reached.day:
            return Materialization("unchanged", day, applied, 0)
        with offline_folder(settings, marts, [view], clock) as folder:
            interval_start = clock - (view.ttl or timedelta(days=36500))
            open_feature_store(settings, folder).materialize(interval_start, clock, feature_views=[ONLINE_VIEW])
        write_durably(_watermark_path(settings), json.dumps(asdict(reached)).encode())
    return Materialization("written", day, applied, pc.count_distinct(rows[ONLINE_KEY]).as_py())


def distrust_online(settings: Settings) -> None:
    """Have the next `materialize` of this day write everything again."""
    held = watermark(settings)
    if held is not None:
        write_durably(_watermark_path(settings), json.dumps(asdict(replace(held, inputs=""))).encode())


def check_rows(rows: pa.Table, features: Sequence[str], clock: datetime) -> None:
    """Refuse values that would be served without a word: infinities, NaN, the future, keys that overwrite each other.

    Raises:
        DataFailed: Names the column and the number of rows, never a value.
    """
    missing = [name for name in (ONLINE_KEY, "feature_at", *features) if name not in rows.column_names]
    if missing:
        raise DataFailed(f"{ONLINE_VIEW} has no column {', '.join(missing)}, which its feature view declares")
    problems = []
    for name in features:
        if pa.types.is_floating(rows.schema.field(name).type):
            bad = pc.sum(pc.invert(pc.is_finite(rows[name]))).as_py() or 0
            if bad:
                problems.append(f"{name} is not finite in {bad} rows")
    future = pc.sum(pc.greater(rows["feature_at"], pa.scalar(clock, rows.schema.field("feature_at").type))).as_py() or 0
    if future:
        problems.append(f"feature_at is after the shop clock ({clock:%Y-%m-%d %H:%M} UTC) in {future} rows")
    nulls = rows[ONLINE_KEY].null_count + rows["feature_at"].null_count
    if nulls:
        problems.append(f"{ONLINE_KEY} or feature_at is null in {nulls} rows")
    repeated = rows.num_rows - rows.group_by([ONLINE_KEY, "feature_at"]).aggregate([]).num_rows
    if repeated:
        problems.append(f"{ONLINE_KEY} and feature_at repeat in {repeated} rows")
    if problems:
        raise DataFailed(f"{ONLINE_VIEW}: {'; '.join(problems)}; nothing was written online")


def read_online(settings: Settings, customer_ids: Sequence[str], at: datetime | None = None) -> pd.DataFrame:
    """Online features of customers, as old as they may be and no older.

    Args:
        at: Moment that ages are counted to; the shop clock when not given.

    Returns:
        Indexed by `customer_id` in the order asked: `as_of_date` (None when the customer has no value, or one older
        than the view's ttl) and a column per feature, in the form of `historical_features`.
    """
    moment = at or _shop_clock(settings)
    store = open_feature_store(settings, features_dir(settings))
    types = declared_features(store, ONLINE_SERVICE)
    ttl = store.get_feature_view(ONLINE_VIEW).ttl or timedelta(days=36500)
    answer = store.get_online_features(
        features=store.get_feature_service(ONLINE_SERVICE),
        entity_rows=[{ONLINE_KEY: customer_id} for customer_id in customer_ids],
    ).to_dict(include_event_timestamps=True)
    seconds = answer[f"{next(iter(types))}__ts"]
    moments = [datetime.fromtimestamp(second, UTC) if second else None for second in seconds]
    present = [stamp is not None and moment - ttl <= stamp <= moment for stamp in moments]
    dates = [
        stamp.astimezone(settings.zone).date() if stamp and here else None
        for stamp, here in zip(moments, present, strict=True)
    ]
    index = pd.Index(list(customer_ids), name=ONLINE_KEY)
    values = pd.DataFrame({name: answer[name] for name in types}, index=index, dtype=object)
    values = values.where(pd.Series(present, index=index), None)
    return pd.concat(
        [pd.Series(dates, index=index, name="as_of_date", dtype=object), as_declared(values, types)], axis=1
    )


def parity(settings: Settings, marts: Marts) -> Parity:
    """Compare a sample of customers online with their point-in-time value offline."""
    clock = settings.day_start(marts.as_of_date)
    customers = sorted(set(current_rows(settings, marts, ONLINE_VIEW, clock)[ONLINE_KEY].to_pylist()))
    chosen = random.Random(settings.seed + marts.as_of_date.toordinal())  # noqa: S311  # a sample, not a secret
    sample = chosen.sample(customers, min(PARITY_SAMPLE, len(customers)))
    rows = pd.DataFrame({ONLINE_KEY: sample, MOMENT: clock})
    offline = historical_features(settings, rows, ONLINE_SERVICE, marts).set_index(ONLINE_KEY).drop(columns=MOMENT)
    online = read_online(settings, sample, clock).drop(columns="as_of_date")
    differences = []
    for name in offline.columns:
        same = (online[name] == offline[name]) | (online[name].isna() & offline[name].isna())
        if not same.all():
            differences.append(f"{name} differs for {int((~same).sum())} of {len(sample)} customers")
    return Parity(len(sample), tuple(differences))


def _shop_clock(settings: Settings) -> datetime:
    """End of the newest landed day: values age while days land, also when nothing is built from them."""
    landed = [batch.last_day for batch in Landing(settings.shop_dir / "landing").batches("orders")]
    built = open_marts(settings).target_day
    return settings.shop_clock(max([built, *landed]))


def _watermark_path(settings: Settings) -> Path:
    return features_dir(settings) / "watermark.json"
