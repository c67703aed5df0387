"""Writes docs/shop_contract.md from the contract: `python -m ml.shop.contract_page`."""

from ml.settings import PROJECT_DIR
from ml.shop.contract import CONTRACT, CONTRACT_VERSION, RESERVED_COLUMNS
from ml.shop.contract.table import Column, Table, TableKind, Tag

PAGE = PROJECT_DIR / "docs" / "shop_contract.md"

_INTRODUCTION = f"""# The shop contract

Version {CONTRACT_VERSION}. Written by `make docs` from `ml/shop/contract/`; do not edit.

These are the tables that a shop must or may supply, whatever its system. All ids are text. Timestamps are UTC; a day
is a calendar day in the shop's time zone (`SHOPWRIGHT_TIMEZONE`). Money is in whole cents of the row's currency, which
must be the shop's one settlement currency (`SHOPWRIGHT_CURRENCY`).

An **event** table has a key and an event time. A late row is accepted, and belongs to the day of its event time.
An **entity** table has a key; each delivery is a full snapshot or a set of changes, valid from the day of its arrival.

A column marked *may be absent* can be left out of a delivery, or be empty in a row. *Personal* columns are masked
wherever they are shown. *Audit-only* columns measure whether groups are treated alike, and never become a feature of a
model. A row that breaks a rule is set aside; when more than the table's budget would be, the whole batch is held.
"""

_FILES = """## As files

With `SHOPWRIGHT_SOURCE=files` and `SHOPWRIGHT_FILES_DIR=<folder>`, each table is one of

- `<table>.parquet` or `<table>.csv`: the whole table. Of an event table, each run takes the rows of its days; an entity
  table is a snapshot.
- `<table>/<YYYY-MM-DD>.parquet` or `.csv`: what arrived on that shop day, late rows included. `orders` and
  `order_lines` need a file for every day on which the shop is open (`SHOPWRIGHT_CLOSED_DAYS`).
- `<table>/date=<YYYY-MM-DD>/<any name>.parquet` or `.csv`: the same, a folder a day.

CSV is UTF-8 with commas and a header line; an empty field is null, a timestamp without an offset is UTC. A line that
does not split into the header's columns is set aside with its number. Parquet timestamps may have any unit and zone.

Files of another form (other names, one flat file, pounds, local times) are brought into this one by a mapping file,
`SHOPWRIGHT_FILES_MAPPING`: see [your shop](your_shop.md).
"""


def render_page() -> str:
    """The whole page as Markdown."""
    reserved = ["## Reserved columns", "", "Any table may carry these beside its own.", "", *_columns(RESERVED_COLUMNS)]
    tables = "\n\n".join(_section(table) for table in CONTRACT.values())
    return "\n".join([_INTRODUCTION, *_overview(), "", tables, "", *reserved, "", _FILES])


def _overview() -> list[str]:
    header = ["| table | kind | | holds |", "|---|---|---|---|"]
    return header + [
        f"| [`{table.name}`](#{table.name}) | {table.kind} | {'required' if table.required else 'optional'} "
        f"| {table.description} |"
        for table in CONTRACT.values()
    ]


def _section(table: Table) -> str:
    facts = [f"Key: {', '.join(f'`{name}`' for name in table.key)}."]
    if table.kind is TableKind.EVENT:
        facts.append(f"Event time: `{table.event_time}`.")
    facts.append("A day without rows passes." if table.may_be_empty else "A delivery without rows fails.")
    facts.append(f"Budget for rows set aside: {table.quarantine_budget:.0%}.")
    kind = f"{'Required' if table.required else 'Optional'} {table.kind} table."
    lines = [f"## {table.name}", "", f"{kind} {table.description}", "", " ".join(facts), "", *_columns(table.columns)]
    return "\n".join(lines)


def _columns(columns: tuple[Column, ...]) -> list[str]:
    header = ["| column | type | rules | meaning |", "|---|---|---|---|"]
    return header + [
        f"| `{column.name}` | {column.type} | {_rules(column)} | {column.description} |" for column in columns
    ]


def _rules(column: Column) -> str:
    rules = ["may be absent" if column.may_be_absent else "required"]
    if column.minimum is not None:
        rules.append(f"at least {column.minimum:g}")
    if column.above is not None:
        rules.append(f"above {column.above:g}")
    if column.allowed:
        rules.append(f"one of {', '.join(f'`{value}`' for value in column.allowed)}")
    if Tag.AUDIT_ONLY in column.tags:
        rules.append("audit-only")
    if Tag.PERSONAL in column.tags:
        rules.append("personal")
    return "; ".join(rules)


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(render_page())
