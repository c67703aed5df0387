"""The daily checks of a product: their inputs from the stores, their verdicts into the record.

Drift is one check for every product. What quality is differs: that of recommendations is judged here, that of fraud
decisions in `ml.monitoring.fraud_checks`.
"""

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path

import pandas as pd

from ml.monitoring.alarms import tell_of_states
from ml.monitoring.drift import Drift, DriftConfig, judge_drift
from ml.monitoring.performance import WINDOW, PerformanceConfig, judge_groups, judge_performance, read_purchases
from ml.monitoring.states import MonitorState, unknown
from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings
from ml.stores.bundles import REFERENCE, load_bundle
from ml.stores.durable import write_durably
from ml.stores.operations import Operations, monitor_states
from ml.stores.registry import champion
from ml.stores.shown import SCORED, SHOWN, ShownDay, ShownStore
from ml.stores.warehouse import open_marts

DRIFT_MONITORS = ("data_drift", "feature_drift", "score_drift")
QUALITY_MONITORS = ("performance", "bias")
SNAPSHOT = "drift.evidently.json.gz"
_DAY = timedelta(days=1)
_PAST_DAYS = 28


@dataclass(frozen=True)
class Watch:
    """What the checks of one product work on."""

    settings: Settings
    operations: Operations
    product: str

    @property
    def shown(self) -> ShownStore:
        return ShownStore(self.settings, self.product)


def watch_drift(watch: Watch, partition: date, config: DriftConfig) -> Sequence[MonitorState]:
    """Compare what was scored after a shop day with the window that its model was trained on.

    Raises:
        DataFailed, ToolFailed: The comparison could not be made; that is stored first, and tells an operator.
    """
    with stored_if_raised(watch, partition, "data_drift", DRIFT_MONITORS):
        day = watch.shown.keep(partition + _DAY)
        drift = None
        if day is None:
            states: Sequence[MonitorState] = [_nothing_shown(watch, partition)]
        else:
            drift = _judge_drift(watch, day, config)
            states = _states_of(watch, drift, day, config)
    store_states(watch, partition, DRIFT_MONITORS, states)
    _write_drift(watch, partition, day, states, drift)
    return states


def _judge_drift(watch: Watch, day: ShownDay, config: DriftConfig) -> Drift | None:
    """The verdict; None for a baseline that learnt from no window."""
    bundle = load_bundle(watch.settings, watch.product, day.model_version)
    if bundle.kind == "baseline" and REFERENCE not in bundle.contents:
        return None
    if REFERENCE not in bundle.contents:
        raise DataFailed(f"{day.model_version} has no {REFERENCE}: expected a sample of its training window")
    current = watch.shown.read(day, SCORED)
    if current is None:
        raise DataFailed(f"{day.version} has no table {SCORED}: expected a sample of what was scored")
    reference = pd.read_parquet(io.BytesIO(bundle.contents[REFERENCE]))
    watched = bundle.manifest.get("watched", bundle.manifest["features"])
    return judge_drift(watch.product, reference, current, list(watched), config)


def _states_of(watch: Watch, drift: Drift | None, day: ShownDay, config: DriftConfig) -> Sequence[MonitorState]:
    if drift is None:
        return [_nothing_learnt(watch, day)]
    if config.is_small_expected and (rows := watch.shown.count(day, SCORED)) < 2 * config.guards.min_rows:
        why = f"{rows} rows were scored lately, {2 * config.guards.min_rows} are needed"
        return [unknown("data_drift", watch.product, why, expected=True)]
    return drift.states()


def _nothing_shown(watch: Watch, partition: date) -> MonitorState:
    if champion(watch.settings, watch.product) is None:
        return unknown("data_drift", watch.product, "there is no champion yet", expected=True)
    newest = watch.shown.newest_published()
    if newest is not None and newest > partition + _DAY:
        return unknown("data_drift", watch.product, "what a later day gave was published first", expected=True)
    return unknown("data_drift", watch.product, "nothing was published for this day", expected=False)


def _nothing_learnt(watch: Watch, day: ShownDay) -> MonitorState:
    why = f"{day.model_version} is a baseline: it learnt from no window that the day could differ from"
    return unknown("data_drift", watch.product, why, expected=True)


def watch_performance(watch: Watch, partition: date, config: PerformanceConfig) -> dict[date, MonitorState]:
    """Judge the recommendations whose week has ended by the end of a shop day and that were not judged yet.

    A verdict belongs to the day on which the week ended. Until the first week has ended the state is unknown,
    which is expected and tells nobody.

    Returns:
        Overall state per day on which a week ended; `partition` is always among them.

    Raises:
        DataFailed, ToolFailed: The comparison could not be made; that is stored first, and tells an operator.
    """
    with stored_if_raised(watch, partition, "performance", QUALITY_MONITORS):
        watch.shown.keep(partition + _DAY)
        verdicts = {}
        for day in _due_days(watch, partition):
            states = _judge_week(watch, day, config)
            store_states(watch, _week_end(day), QUALITY_MONITORS, states)
            verdicts[_week_end(day)] = states[0]
    if partition not in verdicts:
        verdicts[partition] = _not_yet(watch, partition)
        store_states(watch, partition, QUALITY_MONITORS, [verdicts[partition]])
    return verdicts


def _week_end(day: ShownDay) -> date:
    return day.as_of_date + WINDOW - _DAY


def _due_days(watch: Watch, partition: date) -> list[ShownDay]:
    """Kept days whose week has ended and was not judged before; that of `partition` is judged again, for late rows."""
    rows = watch.operations.rows(monitor_states, monitor="performance", object=watch.product)
    judged = {row["partition"] for row in rows if row["state"] != "unknown"} - {partition.isoformat()}
    ended = [day for day in watch.shown.days() if _week_end(day) <= partition]
    return [day for day in ended if _week_end(day).isoformat() not in judged]


def _not_yet(watch: Watch, partition: date) -> MonitorState:
    waiting = [_week_end(day) for day in watch.shown.days() if _week_end(day) > partition]
    why = f"not yet mature: the first week ends on {min(waiting)}" if waiting else "nothing was shown a week ago"
    return unknown("performance", watch.product, why, expected=True)


def _judge_week(watch: Watch, day: ShownDay, config: PerformanceConfig) -> list[MonitorState]:
    lists = watch.shown.read(day, SHOWN)
    assert lists is not None, f"the recommendations of {day.as_of_date} are kept without their lists"
    marts = open_marts(watch.settings)
    if marts.as_of_date < day.as_of_date + WINDOW:
        return [unknown("performance", watch.product, "the marts do not reach the week's end", expected=False)]
    connection = marts.connect()
    try:
        purchases = read_purchases(connection, day.as_of_date, config)
        demographics = pd.DataFrame()
        if "audit_demographics" in marts.version.tables():
            demographics = connection.execute("select * from audit_demographics").df()
    finally:
        connection.close()
    overall, per_customer = judge_performance(watch.product, lists, purchases, _past(watch, day), config)
    overall.detail.update(as_of_date=day.as_of_date.isoformat(), model_version=day.model_version)
    if overall.state == "unknown":
        return [overall]
    return [overall, *judge_groups(watch.product, per_customer, demographics, config.fairness)]


def _past(watch: Watch, day: ShownDay) -> list[float]:
    rows = watch.operations.rows(monitor_states, monitor="performance", object=watch.product)
    known = sorted((row["partition"], row["value"]) for row in rows if row["value"] is not None)
    return [value for partition, value in known if partition < _week_end(day).isoformat()][-_PAST_DAYS:]


@contextmanager
def stored_if_raised(watch: Watch, partition: date, monitor: str, monitors: Sequence[str]) -> Iterator[None]:
    """Store that the state of the monitors is unknown when the block raises, and tell an operator."""
    try:
        yield
    except (DataFailed, ToolFailed) as error:
        store_states(watch, partition, monitors, [unknown(monitor, watch.product, str(error), expected=False)])
        raise


def store_states(watch: Watch, partition: date, monitors: Sequence[str], states: Sequence[MonitorState]) -> None:
    """Make these the states of the monitors of a product on a shop day, and tell operators of what is broken."""
    rows = [asdict(state) for state in states]
    watch.operations.replace_monitor_states(partition.isoformat(), monitors, rows, of=watch.product)
    tell_of_states(watch.operations, watch.product, partition, states)


def _write_drift(
    watch: Watch, partition: date, day: ShownDay | None, states: Sequence[MonitorState], drift: Drift | None
) -> None:
    folder = drift_folder(watch.settings, partition, watch.product)
    content = {
        "product": watch.product,
        "partition": partition.isoformat(),
        "version": day.version if day else None,
        "model_version": day.model_version if day else None,
        "states": [asdict(state) for state in states],
    }
    write_durably(folder / "drift.json", json.dumps(content, indent=1).encode())
    if drift is not None and drift.snapshot is not None:
        write_durably(folder / SNAPSHOT, gzip.compress(drift.snapshot.dumps().encode(), mtime=0))


def drift_folder(settings: Settings, partition: date, product: str) -> Path:
    """Where a day's drift is kept as JSON."""
    return settings.shop_dir / "monitoring" / partition.isoformat() / product
