"""Features: declared in Feast, brought online, and held against their offline values."""

from datetime import date, datetime
from typing import Any

import click

from ml.alerts.incidents import close_incident, open_incident
from ml.cli.step_verdicts import recorded
from ml.cli.tables import print_table
from ml.cli.warehouse import day_option
from ml.outcomes import DataFailed
from ml.settings import Settings, get_settings
from ml.stores.operations import Operations, feature_versions
from ml.stores.warehouse import marts_store, open_marts

_PARITY_RULE = "online_equals_offline"


@recorded("feature_parity", "online_values", "values_and_parity", "values that may be served, online equal to offline")
def materialize_features(partition: date) -> dict[str, Any]:
    """Apply changed declarations, bring the online store to the published marts, and check that both agree.

    Raises:
        DataFailed: A value may not be served, or online and offline values differ.
    """
    from ml.stores.online_features import materialize

    settings = get_settings()
    marts = open_marts(settings)
    done = materialize(settings, marts)
    checked = _check_parity(settings, partition) if done.outcome != "older" else None
    return {
        "partition": partition.isoformat(),
        "marts_version": marts.version.id,
        "day": done.day.isoformat(),
        "outcome": done.outcome,
        "applied": done.applied,
        "entities": done.entities,
        "parity_checked": checked,
    }


def _check_parity(settings: Settings, partition: date) -> int:
    """Number of customers compared."""
    from ml.stores.online_features import ONLINE_SERVICE, distrust_online, parity

    operations = Operations.from_settings(settings)
    result = parity(settings, open_marts(settings))
    if not result.differences:
        close_incident(operations, kind="parity_failed", object=ONLINE_SERVICE, rule=_PARITY_RULE, partition=partition)
        return result.sampled
    distrust_online(settings)
    open_incident(
        operations,
        kind="parity_failed",
        object=ONLINE_SERVICE,
        rule=_PARITY_RULE,
        partition=partition,
        severity="alert",
        title=f"{ONLINE_SERVICE}: {len(result.differences)} features differ between online and offline",
        body="\n".join(result.differences),
    )
    raise DataFailed(f"{ONLINE_SERVICE}: online differs from offline: {'; '.join(result.differences)}")


@click.group(invoke_without_command=True)
@click.pass_context
def features(context: click.Context) -> None:
    """Feature services, and how far the online store has come."""
    if context.invoked_subcommand is not None:
        return
    from ml.monitoring.staleness import stale_marks
    from ml.stores.feast_repo import features_dir, open_feature_store
    from ml.stores.online_features import watermark

    settings = get_settings()
    _print_versions(settings)
    held = watermark(settings)
    if held is None:
        click.echo("nothing is materialized yet; run `shopwright features materialize --day <day>`")
        return
    withdrawn = held.marts_version in marts_store(settings).withdrawn()
    told = ", which was rolled back: run `shopwright features materialize`" if withdrawn else ""
    click.echo(f"online values reach {held.day}, from marts {held.marts_version}{told}")
    for mark in stale_marks(settings, ["features"]):
        click.echo(mark)
    store = open_feature_store(settings, features_dir(settings))
    print_table(
        ["service", "view", "features", "online", "valid for", "owner"],
        [
            [
                service.name,
                view.name,
                len(projection.features),
                "yes" if view.online else "no",
                f"{view.ttl.days} days",
                view.owner,
            ]
            for service in sorted(store.list_feature_services(), key=lambda service: service.name)
            for projection in service.feature_view_projections
            for view in [store.get_feature_view(projection.name)]
        ],
    )


def _print_versions(settings: Settings) -> None:
    """The definition of each published feature mart, and the version of the marts that first had it."""
    current = marts_store(settings).current()
    if current is None:
        return
    in_use = current.lineage.get("fingerprints", {})
    recorded = Operations.from_settings(settings).rows(feature_versions)
    print_table(
        ["feature mart", "version", "state", "definition", "first published in", "at"],
        [
            [
                row["feature_mart"],
                row["number"],
                "published" if in_use.get(row["feature_mart"]) == row["fingerprint"] else "not in use",
                row["fingerprint"][:12],
                row["marts_version"],
                f"{row['published_at']:%Y-%m-%d %H:%M} UTC",
            ]
            for row in sorted(recorded, key=lambda row: (row["feature_mart"], row["number"]))
        ],
    )
    click.echo()


@features.command()
@day_option
def materialize(day: datetime) -> None:
    """Bring the online store to the published marts and check it."""
    for name, value in materialize_features(day.date()).items():
        click.echo(f"{name}: {'-' if value is None else value}")


@features.command()
@click.argument("customer_id")
def show(customer_id: str) -> None:
    """Print a customer's online features."""
    from ml.stores.online_features import read_online

    values = read_online(get_settings(), [customer_id]).loc[customer_id]
    if values["as_of_date"] is None:
        click.echo(f"customer {customer_id} has no current features")
        return
    print_table(["feature", "value"], [[name, value] for name, value in values.items()])
