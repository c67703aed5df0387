"""What an edited dbt project would change, before it is published."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import click

from ml.cli.tables import print_table
from ml.settings import Settings, get_settings
from ml.stores import registry
from ml.stores.dbt_run import DBT_PROJECT_DIR
from ml.stores.feature_versions import version_numbers
from ml.stores.mart_diff import ColumnChange, MartDiff, MartsDiff, diff_marts
from ml.stores.operations import Operations
from ml.stores.warehouse import open_marts

_NAMED_AT_MOST = 6


@click.command()
@click.option(
    "--day",
    type=click.DateTime(formats=["%Y-%m-%d"]),
    help="Build up to this shop day from the newest raw data; default: from what the published marts were built from.",
)
@click.option(
    "--project",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=DBT_PROJECT_DIR,
    help="Folder of the edited dbt project; default: this installation's.",
)
def diff(day: datetime | None, project: Path) -> None:
    """Build the dbt project as it is now, and show what it would change in the published marts. Publishes nothing."""
    settings = get_settings()
    found = diff_marts(settings, project.resolve(), day.date() if day else None)
    click.echo(f"published {found.published} against {project} up to {found.target_day} from raw {found.raw_version}")
    changed = [mart for mart in found.marts if not mart.is_same]
    if not changed:
        click.echo("no mart changes in rows or columns")
    else:
        _print_marts(changed)
        _print_columns(changed)
    _print_features(settings, found)


def _print_marts(marts: list[MartDiff]) -> None:
    print_table(
        ["mart", "rows", "added", "removed", "changed", "new columns", "columns gone", "retyped"],
        [
            [
                mart.name,
                " -> ".join("none" if count is None else f"{count:,}" for count in mart.rows),
                mart.added,
                mart.removed,
                mart.changed if mart.key else None,
                ", ".join(mart.columns_added) or None,
                ", ".join(mart.columns_removed) or None,
                ", ".join(f"{name} {types}" for name, types in (mart.retyped or {}).items()) or None,
            ]
            for mart in marts
        ],
    )


def _print_columns(marts: list[MartDiff]) -> None:
    rows = [[f"{mart.name}.{column.name}", *_described(column)] for mart in marts for column in mart.columns]
    if rows:
        click.echo()
        print_table(["column", "rows changed", "nulls", "mean"], rows)


def _described(column: ColumnChange) -> list[str | None]:
    share = None if column.share is None else f"{column.share:.1%}"
    nulls = [None if value is None else f"{value:.1%}" for value in column.nulls]
    means = [None if value is None else f"{value:.6g}" for value in column.means]
    return [share, _shift(nulls), _shift(means)]


def _shift(pair: list[str | None]) -> str | None:
    return None if pair == [None, None] else " -> ".join(value or "none" for value in pair)


def _print_features(settings: Settings, found: MartsDiff) -> None:
    click.echo()
    if not found.features:
        click.echo("no feature gets a new definition")
        return
    operations = Operations.from_settings(settings)
    published = open_marts(settings, found.published).version.lineage["fingerprints"]
    users = _champions_using(settings, found)
    print_table(
        ["feature mart", "version", "features that change", "champions that use them"],
        [
            [
                name,
                f"{_number(operations, name, published.get(name))} -> {_number(operations, name, edited)}",
                _named([column.split(".")[1] for column in found.feature_columns if column.startswith(f"{name}.")]),
                ", ".join(users.get(name, ())) or None,
            ]
            for name, edited in found.features.items()
        ],
    )
    if users:
        click.echo("once this is published, those champions score no more until they are trained again")


def _named(columns: list[str]) -> str | None:
    more = f" and {len(columns) - _NAMED_AT_MOST} more" if len(columns) > _NAMED_AT_MOST else ""
    return ", ".join(columns[:_NAMED_AT_MOST]) + more or None


def _number(operations: Operations, mart: str, fingerprint: str | None) -> str:
    """A definition's version; one that was never published will get the next number."""
    if fingerprint is None:
        return "none"
    numbers = version_numbers(operations, mart)
    known = numbers.get(fingerprint)
    return str(known) if known is not None else f"{max(numbers.values(), default=0) + 1} (new)"


def _champions_using(settings: Settings, found: MartsDiff) -> Mapping[str, list[str]]:
    """Feature mart -> champions that were trained on what changes of it."""
    users: dict[str, list[str]] = {}
    for product in registry.products(settings):
        bundle = registry.load_champion(settings, product)
        trained_on = set(bundle.manifest.get("fingerprints", {})) if bundle else set()
        for mart in sorted({name.split(".")[0] for name in trained_on if _changes(name, found)}):
            users.setdefault(mart, []).append(bundle.version if bundle else product)
    return users


def _changes(feature: str, found: MartsDiff) -> bool:
    """Whether a feature changes; where columns have no fingerprint of their own, their mart stands for them."""
    mart = feature.split(".")[0]
    has_own = any(column.startswith(f"{mart}.") for column in found.feature_columns)
    return feature in found.feature_columns or (mart in found.features and (feature == mart or not has_own))
