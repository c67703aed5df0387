"""Monitoring: what drifted, how past recommendations did, and whether groups of customers are served alike."""

import gzip
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import click

from ml.cli.tables import print_table
from ml.monitoring.checks import DRIFT_MONITORS, SNAPSHOT, Watch, drift_folder, watch_drift, watch_performance
from ml.monitoring.drift import DriftConfig
from ml.monitoring.fraud_checks import watch_fraud_performance
from ml.monitoring.fraud_performance import FraudPerformanceConfig
from ml.monitoring.performance import PerformanceConfig
from ml.monitoring.reports import drift_page, status_page
from ml.monitoring.staleness import stale_marks
from ml.monitoring.states import badness, whole_of
from ml.outcomes import DataFailed
from ml.settings import Settings, get_settings
from ml.stores.durable import write_durably
from ml.stores.operations import Operations, incidents, monitor_states

RECOMMENDER, FRAUD = "recommender", "fraud"
_SIMULATED = "The payments, chargebacks and fraud of this shop are simulated: made up over its orders."
_PRODUCT = click.Choice([RECOMMENDER, FRAUD])
# Orders are scored as they come: a small shop has few, and their counts over all time grow as the shop grows older.
_DRIFT = {RECOMMENDER: DriftConfig(), FRAUD: DriftConfig(is_small_expected=True)}
_DAY = click.DateTime(formats=["%Y-%m-%d"])


def check_drift(partition: date, product: str = RECOMMENDER) -> dict[str, Any]:
    """Compare what was scored after a shop day with the window that its model was trained on."""
    states = watch_drift(_watch(product), partition, _DRIFT[product])
    counts: dict[str, int] = {}
    for state in states:
        counts[state.state] = counts.get(state.state, 0) + 1
    overall = states[0]
    return {
        "partition": partition.isoformat(),
        "state": overall.state,
        "share_drifted": overall.value,
        "states": counts,
    }


def check_performance(partition: date, product: str = RECOMMENDER) -> dict[str, Any]:
    """Judge what a product gave and how it turned out.

    Of recommendations those whose week has ended, in all and by group of customers; of fraud scores those whose orders
    are old enough for their labels to be known.
    """
    if product == FRAUD:
        state = watch_fraud_performance(_watch(product), partition, FraudPerformanceConfig())
        return {"partition": partition.isoformat(), "state": state.state, "average_precision": state.value}
    verdicts = watch_performance(_watch(product), partition, PerformanceConfig())
    judged = {day.isoformat(): {"state": state.state, "ndcg_at_10": state.value} for day, state in verdicts.items()}
    return {"partition": partition.isoformat(), "state": verdicts[partition].state, "judged": judged}


def _watch(product: str) -> Watch:
    settings = get_settings()
    return Watch(settings, Operations.from_settings(settings), product)


@click.group(invoke_without_command=True)
@click.option("--day", type=_DAY, help="States of this shop day; default: the newest of each monitor.")
@click.option("--why", is_flag=True, help="Also why, by group of customers where there are groups.")
@click.pass_context
def monitor(context: click.Context, day: datetime | None, why: bool) -> None:
    """States of the monitors: ok, warn, alert, unknown."""
    if context.invoked_subcommand is not None:
        return
    rows = newest_states(Operations.from_settings(get_settings()), day.date() if day else None)
    if not rows:
        click.echo("nothing was judged yet")
        return
    header = ["state", "monitor", "of", "shop day", "value", "alert at"]
    table = [
        [
            row["state"],
            row["monitor"],
            row["object"],
            row["partition"],
            _figure(row["value"]),
            _figure(row["threshold"]),
        ]
        for row in rows
    ]
    if why:
        header.append("why")
        for cells, row in zip(table, rows, strict=True):
            cells.append(", ".join(f"{name}={_plain(value)}" for name, value in row["detail"].items()))
    print_table(header, table)


@monitor.command("drift")
@click.option("--day", type=_DAY, required=True, help="Shop day to judge.")
@click.option("--product", type=_PRODUCT, default=RECOMMENDER, show_default=True)
def drift_by_hand(day: datetime, product: str) -> None:
    """Run the drift check of a shop day."""
    _print_summary(check_drift(day.date(), product))


@monitor.command("performance")
@click.option("--day", type=_DAY, required=True, help="Shop day to judge.")
@click.option("--product", type=_PRODUCT, default=RECOMMENDER, show_default=True)
def performance_by_hand(day: datetime, product: str) -> None:
    """Run the check of how past recommendations or scores turned out by a shop day."""
    _print_summary(check_performance(day.date(), product))


@click.group()
def report() -> None:
    """Pages for the browser, made from what is kept."""


@report.command("drift")
@click.option("--day", "--partition", "day", type=_DAY, help="Shop day; default: the newest that was compared.")
@click.option("--product", type=_PRODUCT, default=RECOMMENDER, show_default=True)
def drift_report(day: datetime | None, product: str) -> None:
    """Write the drift report and print where it is."""
    settings = get_settings()
    kept = sorted(settings.shop_dir.glob(f"monitoring/*/{product}/{SNAPSHOT}"))
    if day is not None:
        kept = [path for path in kept if path.parent == drift_folder(settings, day.date(), product)]
    if not kept:
        raise DataFailed(
            f"no comparison is kept{f' of {day:%Y-%m-%d}' if day else ''}; `shopwright monitor drift` makes one"
        )
    page = kept[-1].with_name("drift.html")
    write_durably(page, drift_page(gzip.decompress(kept[-1].read_bytes())).encode())
    click.echo(page)


@report.command("status")
def status_report() -> None:
    """Write the overview page and print where it is."""
    click.echo(write_status(get_settings()))


def write_status(settings: Settings) -> str:
    """Write the overview page of open incidents, monitor states and links.

    Returns:
        Its path.
    """
    operations = Operations.from_settings(settings)
    page = settings.shop_dir / "reports" / "index.html"
    pages = sorted(path for path in settings.shop_dir.glob("reports/*.html") if path != page)
    links = {f"{path.stem} report": path.name for path in pages}
    for path in sorted(settings.shop_dir.glob("monitoring/*/*/drift.html")):
        product, folder = path.parent.name, path.parent.parent.name
        links[f"drift of {product}, {folder}"] = f"../monitoring/{folder}/{product}/{path.name}"
    servers = {"Airflow": settings.airflow_api_url, "MLflow": settings.mlflow_tracking_uri}
    links |= {name: url for name, url in servers.items() if url}
    open_incidents = operations.rows(incidents, state="open")
    states = newest_states(operations)
    notes = [_SIMULATED] if settings.simulates_payments else []
    text = status_page(settings.shop_id, states, open_incidents, links, stale_marks(settings), notes)
    write_durably(page, text.encode())
    return str(page)


def newest_states(operations: Operations, day: date | None = None) -> list[dict[str, Any]]:
    """States of one shop day, or the newest of each monitor and object; the overall and the worst ones first.

    While the newest week of recommendations is not yet mature, the newest verdict is shown beside it.
    """
    rows = operations.rows(monitor_states, partition=day.isoformat()) if day else operations.rows(monitor_states)
    newest: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: str(row["partition"])):
        is_waiting = bool(row["detail"].get("expected"))
        newest[(row["monitor"], row["object"], "waiting" if is_waiting else "judged")] = row
    newest_drift = {key[1]: row["partition"] for key, row in newest.items() if key[0] == "data_drift"}
    kept = [
        row
        for key, row in newest.items()
        if key[0] not in DRIFT_MONITORS or row["partition"] >= newest_drift.get(whole_of(key[1]), "")
    ]
    order = ["performance", "bias", "label_flow", "label_delay", "data_drift", "score_drift", "feature_drift"]
    return sorted(
        kept,
        key=lambda row: (
            order.index(row["monitor"]) if row["monitor"] in order else -1,
            -badness(row["state"]),
            -(row["value"] or 0.0),
            row["object"],
        ),
    )


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_plain(one)}" for name, one in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_plain(one) for one in value) + "]"
    return str(value)


def _print_summary(summary: dict[str, Any]) -> None:
    for name, value in summary.items():
        click.echo(f"{name}: {_plain(value)}")
