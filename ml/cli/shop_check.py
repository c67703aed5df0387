"""What a folder of shop files would come to, told before anything runs: all of it tried in a temporary place."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from ml.cli.shop_sufficiency import NEEDED_FOR, Span, Sufficiency, held_at_build, judge_products, span_of
from ml.cli.tables import print_table
from ml.outcomes import DataFailed
from ml.settings import PREFIX, Settings, SettingsError
from ml.shop.contract import CONTRACT, REQUIRED_TABLES
from ml.shop.delivery import Delivery
from ml.shop.files import FilesSource
from ml.shop.mapped_files import MappedFilesSource
from ml.shop.sources import open_source
from ml.stores.landing import Landing
from ml.stores.operations import Operations, gate_verdicts

_SHOWN_STATES = ("set_aside", "warned", "failed", "unknown")
_DAYS = (date(2000, 1, 1), date(2100, 1, 1))


@dataclass
class Check:
    """What was found.

    Attributes:
        settings: Of the trial; its state folder is gone when the check has ended.
        derived: What was neither given nor set, and where it was taken from.
        held_at_build: Rows that refer to what is not there.
        problems: Table -> why it could not be read.
        left_out: Table -> filter -> rows.
        columns: Table -> columns of the contract that were not delivered.
        verdicts: Rows of `gate_verdicts`.
    """

    settings: Settings
    found: tuple[str, ...]
    derived: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, dict[str, int]] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    held_at_build: list[str] = field(default_factory=list)
    span: Span | None = None
    products: list[Sufficiency] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """Why recommendations cannot run."""
        missing = [f"{name} is missing" for name in REQUIRED_TABLES if name not in self.found]
        unread = [problem for table, problem in self.problems.items() if table in REQUIRED_TABLES]
        held = [
            f"{row['object']} would be held back"
            for row in self.verdicts
            if row["object"] in REQUIRED_TABLES and row["status"] != "passed" and row["object"] in self.found
        ]
        against = [reason for each in self.products if each.product == "recommendations" for reason in each.against]
        return list(dict.fromkeys([*missing, *unread, *held])) or against


def check_folder(
    folder: Path,
    mapping: Path | None,
    *,
    timezone: str | None = None,
    currency: str | None = None,
    first_day: date | None = None,
    last_day: date | None = None,
) -> Check:
    """Read, land and judge a folder in a temporary state folder.

    Raises:
        SettingsError: A setting or the mapping is wrong.
        DataFailed: There is no such folder.
        ToolFailed: A check could not do its work.
    """
    if not folder.is_dir():
        raise DataFailed(f"{folder}: no such folder")
    given = {"timezone": timezone, "currency": currency}
    with tempfile.TemporaryDirectory(prefix="shopwright-check-") as place:
        settings = _settings(Path(place), folder, mapping, given, _DAYS)
        source = _opened(settings)
        check = Check(settings, source.found())
        if isinstance(source, MappedFilesSource) and "timezone" not in settings.model_fields_set:
            given["timezone"] = source.mapping.usual_zone()
            if given["timezone"] is not None:
                check.derived.append("the time zone is that of the mapping")
        if "orders" not in check.found:
            check.products = judge_products(settings, {})
            return check
        settings = _settings(Path(place), folder, mapping, given, _DAYS)
        try:
            days = _opened(settings).days("orders")
        except DataFailed as error:
            check.problems["orders"] = str(error)
            check.products = judge_products(settings, {})
            return check
        first, last = first_day or days[0], last_day or days[1]
        check.settings = settings = _settings(Path(place), folder, mapping, given, (first, last))
        _try_all(check, _opened(settings))
    return check


def _opened(settings: Settings) -> FilesSource | MappedFilesSource:
    source = open_source(settings)
    assert isinstance(source, FilesSource | MappedFilesSource), "a folder is what is checked"
    return source


def _settings(
    place: Path, folder: Path, mapping: Path | None, given: Mapping[str, str | None], days: tuple[date, date]
) -> Settings:
    """Settings of the trial: those of this installation, but for where state lies and what is read."""
    own: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    own |= {
        "state_dir": place,
        "shop_id": "check",
        "source": "files",
        "files_dir": folder.resolve(),
        "first_day": days[0],
        "bootstrap_day": days[1],
        "last_day": None,
        "operations_url": None,
        "alert_urls": (),
        "lineage_url": None,
    }
    if mapping is not None:
        own["files_mapping"] = mapping.resolve()
    try:
        return Settings(**own)
    except ValidationError as error:
        told = [f"{PREFIX}{'_'.join(map(str, found['loc'][:1])).upper()}: {found['msg']}" for found in error.errors()]
        raise SettingsError("; ".join(told)) from None


def _try_all(check: Check, source: FilesSource | MappedFilesSource) -> None:
    """Read every table, land it, judge what landed, and count what it suffices for."""
    from expectations import gates  # Great Expectations takes seconds to import

    settings = check.settings
    first, last = settings.first_day, settings.bootstrap_day
    landing, tables = Landing(settings.shop_dir / "landing"), {}
    for table in check.found:
        try:
            delivery = source.read(table, first, last + timedelta(days=1))
        except DataFailed as error:
            check.problems[table] = str(error)
            continue
        landing.land(delivery, first, last, source.name)
        check.left_out[table] = delivery.left_out
        delivered = set(delivery.rows.column_names)
        check.columns[table] = [column.name for column in CONTRACT[table].columns if column.name not in delivered]
        rows = _conformed(table, delivery)
        if rows is not None:
            tables[table] = rows
    if "currency" not in settings.model_fields_set and "order_lines" in tables:
        commonest = _commonest(tables["order_lines"].column("currency"))
        if commonest is not None:
            check.settings = settings = settings.model_copy(update={"currency": commonest})
            check.derived.append("the currency is that of most lines")
    with suppress(DataFailed):  # told by the verdicts
        gates.judge_arrivals(settings, last)
    check.verdicts = Operations.from_settings(settings).rows(gate_verdicts, gate="arrivals")
    check.held_at_build = held_at_build(tables)
    check.span = span_of(settings, tables["orders"]) if "orders" in tables else None
    check.products = judge_products(settings, tables)


def _commonest(values: pa.ChunkedArray) -> str | None:
    counts = pc.value_counts(values.drop_null()).to_pylist()
    return str(max(counts, key=lambda entry: entry["counts"])["values"]) if counts else None


def _conformed(table: str, delivery: Delivery) -> pa.Table | None:
    """The rows in contract form; None where a column that the table cannot do without is missing or mistyped."""
    from expectations.casting import conform_text, conform_typed
    from expectations.structure import check_structure

    contract = CONTRACT[table]
    is_text = delivery.format == "text"
    if any(rule.is_bad for rule in check_structure(contract, delivery.rows, is_text)):
        return None
    try:
        return (conform_text if is_text else conform_typed)(contract, delivery.rows).rows
    except pa.ArrowInvalid:
        return None


_DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.command("check")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--mapping", type=click.Path(dir_okay=False, path_type=Path), help="YAML file that maps the folder.")
@click.option("--timezone", help="The shop's time zone, such as Europe/London.")
@click.option("--currency", help="The shop's one currency, such as GBP.")
@click.option("--first-day", type=_DAY, help="First day to look at; default: the first with orders.")
@click.option("--last-day", type=_DAY, help="Last day to look at; default: the last with orders.")
def check_command(
    folder: Path,
    mapping: Path | None,
    timezone: str | None,
    currency: str | None,
    first_day: datetime | None,
    last_day: datetime | None,
) -> None:
    """Tell what a FOLDER of shop files would come to, before anything runs. Nothing is kept.

    Exit code 0 when recommendations can run on it, 3 when they cannot.
    """
    check = check_folder(
        folder,
        mapping,
        timezone=timezone,
        currency=currency,
        first_day=first_day.date() if first_day else None,
        last_day=last_day.date() if last_day else None,
    )
    _print(check)
    if check.failures:
        raise DataFailed("recommendations cannot run: " + "; ".join(check.failures))


def _print(check: Check) -> None:
    settings = check.settings
    click.echo(f"judged by time zone {settings.timezone}, currency {settings.currency}")
    for line in check.derived:
        click.echo(f"  {line}")
    click.echo("\ntables")
    counts = {row["object"]: row for row in check.verdicts if not row["batch_id"].endswith(".missing")}
    print_table(
        ["table", "", "for", "found", "rows", "would pass", "set aside", "duplicates", "verdict"],
        [[*_table_cells(check, table, counts.get(table))] for table in CONTRACT],
    )
    _print_section("cannot be read", list(check.problems.values()))
    _print_section("columns that were not delivered", list(_absent_columns(check)))
    _print_section(
        "rows of the files left out by the mapping's filters",
        [f"{table}: {rows:,} by {name!r}" for table, by in check.left_out.items() for name, rows in by.items()],
    )
    _print_section("rules that were broken", list(_broken(check.verdicts)))
    _print_section("rows that would wait at the build for what they refer to", check.held_at_build)
    _print_section("days", check.span.sentences() if check.span else ["no order has a day"])
    click.echo("\nwhat the data suffices for")
    for product in check.products:
        click.echo(f"  {product.product}: {'enough' if product.is_enough else 'not enough'}")
        for line in (*product.against, *product.figures, *product.notes):
            click.echo(f"    {line}")


def _table_cells(check: Check, table: str, row: dict[str, Any] | None) -> list[object]:
    need = "required" if table in REQUIRED_TABLES else "optional"
    found = "yes" if table in check.found else "no"
    if row is None:
        return [table, need, NEEDED_FOR[table], found, None, None, None, None, None]
    counts = [row["rows_published"], row["rows_quarantined"], row["rows_collapsed"]]
    verdict = "passes" if row["status"] == "passed" else "would be held back"
    return [table, need, NEEDED_FOR[table], found, row["rows_in"], *counts, verdict]


def _print_section(title: str, lines: Sequence[str]) -> None:
    if lines:
        click.echo(f"\n{title}")
        for line in lines:
            click.echo(f"  {line}")


def _absent_columns(check: Check) -> Iterator[str]:
    for table, absent in check.columns.items():
        required = [name for name in absent if not CONTRACT[table].column(name).may_be_absent]
        optional = [name for name in absent if name not in required]
        if required:
            yield f"{table}: {', '.join(required)}; it cannot do without"
        if optional:
            yield f"{table}: {', '.join(optional)}; optional"


def _broken(verdicts: Sequence[dict[str, Any]]) -> Iterator[str]:
    for row in verdicts:
        for rule in row["rules"]:
            if rule["status"] in _SHOWN_STATES and rule["rule"] != "publication":
                said = "set aside" if rule["status"] == "set_aside" else rule["status"]
                yield f"{row['object']}: {rule['rule']} ({said}): expected {rule['expected']}, found {rule['observed']}"
