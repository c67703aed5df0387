"""Scaffolds: what has to be written in several places for one new thing, written in one go."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from ml.settings import PROJECT_DIR
from ml.shop.contract import CONTRACT
from ml.shop.contract.table import Tag

_NAME = re.compile(r"[a-z][a-z0-9_]{2,58}[a-z0-9]")
_LONGEST_LINE = 120
_FEAST_TYPES = {"bigint": "Int64", "double": "Float64", "varchar": "String", "boolean": "Bool"}
# Names say what a figure is (docs/naming.md), so they say its type too.
_TYPE_BY_NAME = (
    (re.compile(r"^count_|^days_since_|^amount_cents"), "bigint"),
    (re.compile(r"^(is|has)_"), "boolean"),
    (re.compile(r"_id$"), "varchar"),
)


@dataclass(frozen=True)
class _Entity:
    """Where the features of an entity live.

    Attributes:
        last_step: The line after the select list to which a feature is added.
        sql: What a feature is when its author has not said yet.
        example: Rows of the model's inputs, small enough to work out a value by hand.
    """

    name: str
    last_step: str
    sql: dict[str, str]
    example: dict[str, tuple[str, ...]]

    @property
    def mart(self) -> str:
        return f"feat_{self.name}"


_CALENDAR = (
    "{as_of_date: 2017-01-09, event_date: 2017-01-02, days_before: 7}",
    "{as_of_date: 2017-01-09, event_date: 2017-01-07, days_before: 2}",
)
_ENTITIES = {
    "customer": _Entity(
        "customer",
        "    from days_before\n",
        {
            "bigint": "coalesce(sum(count_orders) filter (days_before <= {days}), 0)::bigint",
            "double": "avg(amount_cents) filter (days_before <= {days})",
        },
        {
            "ref('int_customer_days__aggregated')": (
                "{customer_id: a, order_date: 2017-01-02, count_orders: 1, count_lines: 2, amount_cents: 300,"
                " discount_cents: 100, count_products: 2, count_repeat_products: 0}",
                "{customer_id: a, order_date: 2017-01-07, count_orders: 2, count_lines: 4, amount_cents: 500,"
                " discount_cents: 0, count_products: 3, count_repeat_products: 1, previous_date: 2017-01-02}",
            ),
            "ref('int_calendar__expanded')": _CALENDAR,
        },
    ),
    "product": _Entity(
        "product",
        "    from days_before\n",
        {
            "bigint": "coalesce(sum(count_orders) filter (days_before <= {days}), 0)::bigint",
            "double": "avg(amount_cents) filter (days_before <= {days})",
        },
        {
            "ref('int_purchases__sequenced')": (
                "{product_id: p, customer_id: a, order_date: 2017-01-02, count_orders: 1, quantity: 2,"
                " amount_cents: 200, discount_cents: 0, next_date: 2017-01-07}",
                "{product_id: p, customer_id: a, order_date: 2017-01-07, count_orders: 2, quantity: 1,"
                " amount_cents: 70, discount_cents: 30, previous_date: 2017-01-02}",
            ),
            "ref('int_calendar__expanded')": _CALENDAR,
        },
    ),
}


@dataclass(frozen=True)
class NewFeature:
    """A column of a feature mart that is to be.

    Attributes:
        sql: Its expression over the rows of `days_before`; None for a first draft by its type.
        expected: Its value for the example rows, worked out by hand; None leaves the unit test failing until it is.
        fed: The ranker gets it. Otherwise it is served and monitored only.
    """

    name: str
    entity: str
    type: str
    description: str
    sql: str | None = None
    expected: str | None = None
    fed: bool = False


def write_feature(feature: NewFeature, root: Path = PROJECT_DIR) -> list[Path]:
    """Write the SQL, its description, a unit test and the Feast field, and tell the ranker's declaration of it.

    Returns:
        The files changed.

    Raises:
        click.UsageError: The name is taken or not allowed, or a file does not look as expected; nothing is written.
    """
    entity = _ENTITIES[feature.entity]
    marts = root / "dbt_project" / "models" / "marts" / "features"
    changes = {
        marts / f"{entity.mart}.sql": _sql,
        marts / "_features__models.yml": _yaml,
        root / "feature_repo" / "views" / f"{entity.name}.py": _view,
        root / "ml" / "recommender" / "features.py": _ranker,
    }
    _check_name(feature, entity, marts / "_features__models.yml")
    written = {path: change(path.read_text(), feature, entity) for path, change in changes.items()}
    for path, text in written.items():
        path.write_text(text)
    return list(written)


def _check_name(feature: NewFeature, entity: _Entity, page: Path) -> None:
    if not _NAME.fullmatch(feature.name):
        raise click.UsageError(f"{feature.name}: expected lower-case words joined by _, such as count_lines_7d")
    audited = {column.name for table in CONTRACT.values() for column in table.columns if Tag.AUDIT_ONLY in column.tags}
    if named := sorted(column for column in audited if column in feature.name):
        raise click.UsageError(f"{feature.name}: {named[0]} is for audits only and may not become a feature")
    columns = [column["name"] for column in _mart_of(page.read_text(), entity)["columns"]]
    if feature.name in columns:
        raise click.UsageError(f"{entity.mart} has a column {feature.name} already")


def _mart_of(page: str, entity: _Entity) -> dict[str, Any]:
    marts: list[dict[str, Any]] = yaml.safe_load(page)["models"]
    return next(mart for mart in marts if mart["name"] == entity.mart)


def _insert_before(text: str, anchor: str, line: str, where: str) -> str:
    if text.count(anchor) != 1:
        raise click.UsageError(f"{where}: expected {anchor.strip()!r} once, found it {text.count(anchor)} times")
    return text.replace(anchor, line + anchor)


def _sql(text: str, feature: NewFeature, entity: _Entity) -> str:
    window = re.search(r"_(\d+)d$", feature.name)
    draft = entity.sql.get(feature.type, "any_value(null)").format(days=window[1] if window else 28)
    where = f"{entity.mart}.sql"
    if text.count(entity.last_step) != 1:
        raise click.UsageError(f"{where}: expected {entity.last_step.strip()!r} once")
    before, after = text.split(entity.last_step)
    column = f"        {feature.sql or draft} as {feature.name}"
    if len(column) > _LONGEST_LINE:
        column = f"        {feature.sql or draft}\n            as {feature.name}"
    return f"{before.rstrip()},\n{column}\n{entity.last_step}{after}"


def _yaml(text: str, feature: NewFeature, entity: _Entity) -> str:
    column = (
        f"      - name: {feature.name}\n"
        f"        description: {_quoted(feature.description)}\n"
        f"        data_type: {feature.type}\n"
    )
    parts = re.split(r"(?m)^(?=  - name: feat_|unit_tests:)", text)
    position = next(index for index, part in enumerate(parts) if part.startswith(f"  - name: {entity.mart}\n"))
    own = parts[position]
    parts[position] = own.rstrip("\n") + "\n" + column + own[len(own.rstrip("\n")) + 1 :]
    return "".join(parts).rstrip("\n") + "\n\n" + _unit_test(text, feature, entity)


def _unit_test(page: str, feature: NewFeature, entity: _Entity) -> str:
    """A test of one row, over the same inputs as the mart's other unit tests."""
    sample = next(test for test in yaml.safe_load(page)["unit_tests"] if test["model"] == entity.mart)
    key = f"{entity.name}_id"
    lines = [f"  - name: {feature.name}_of_an_example_worked_out_by_hand", f"    model: {entity.mart}"]
    if "overrides" in sample:
        lines.append(f"    overrides: {yaml.safe_dump(sample['overrides'], default_flow_style=True).strip()}")
    lines.append("    given:")
    for given in sample["given"]:
        rows = entity.example.get(given["input"], ())
        lines += [f"      - input: {given['input']}", f"        rows:{'' if rows else ' []'}"]
        lines += [f"          - {row}" for row in rows]
    value = feature.expected if feature.expected is not None else "null  # replace by the value worked out by hand"
    row_id = "a" if entity.name == "customer" else "p"
    lines += ["    expect:", "      rows:", f"        - {key}: {row_id}", f"          {feature.name}: {value}"]
    return "\n".join(lines) + "\n"


def _view(text: str, feature: NewFeature, entity: _Entity) -> str:
    feast_type = _FEAST_TYPES[feature.type]
    field = f'        Field(name="{feature.name}", dtype={feast_type}),\n'
    text = _insert_before(text, "    ],\n    source=source,", field, f"feature_repo/views/{entity.name}.py")
    imported = re.search(r"from feast\.types import (.+)\n", text)
    names = sorted({*(imported[1].split(", ") if imported else []), feast_type})
    return re.sub(r"from feast\.types import .+\n", f"from feast.types import {', '.join(names)}\n", text)


def _ranker(text: str, feature: NewFeature, entity: _Entity) -> str:
    name = entity.name.upper()
    if feature.fed:
        begin, entry = (
            f"{name}_FEATURES: Mapping[str, str] = {{\n",
            f'    "{entity.name}_{feature.name}": "{feature.name}",\n',
        )
    else:
        begin = f"{name}_FEATURES_NOT_FED = frozenset(\n    {{\n"
        entry = f'        "{feature.name}",\n'
    start = text.find(begin)
    if start < 0:
        raise click.UsageError(f"ml/recommender/features.py: expected {begin.splitlines()[0]!r}")
    end = text.index("}", start + len(begin))
    line_start = text.rindex("\n", 0, end) + 1
    return text[:line_start] + entry + text[line_start:]


def _quoted(text: str) -> str:
    return yaml.safe_dump(text, width=10_000, default_style='"' if ": " in text or "#" in text else None).splitlines()[
        0
    ]


@click.group("new")
def new() -> None:
    """Scaffolds of things that are declared in several places."""


@new.command("feature")
@click.argument("name")
@click.option("--entity", type=click.Choice(sorted(_ENTITIES)), default="customer", show_default=True)
@click.option("--type", "type_", type=click.Choice(sorted(_FEAST_TYPES)), help="Its type; by default as its name says.")
@click.option("--description", prompt=True, help="One sentence, with what null means.")
@click.option("--sql", help="Its expression over the rows of the step `days_before`; a first draft when left out.")
@click.option("--expected", help="Its value for the example rows of the unit test, worked out by hand.")
@click.option("--fed", is_flag=True, help="Feed it to the ranker; else it is served and monitored only.")
def feature_command(
    name: str, entity: str, type_: str | None, description: str, sql: str | None, expected: str | None, fed: bool
) -> None:
    """Write the SQL, YAML, unit test and Feast field of the feature NAME in one go (docs/add_a_feature.md)."""
    by_name = next((kind for pattern, kind in _TYPE_BY_NAME if pattern.search(name)), "double")
    feature = NewFeature(name, entity, type_ or by_name, description, sql, expected, fed)
    for path in write_feature(feature):
        click.echo(f"changed {path.relative_to(PROJECT_DIR)}")
    if expected is None:
        click.echo("the unit test fails until its expected value is worked out by hand")
    click.echo(f"next: cd dbt_project && ../.venv/bin/dbt build --select +feat_{entity}")
