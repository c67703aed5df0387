"""How much of a batch may be set aside before the batch as a whole is held: by table, and by rule where it is set."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import lru_cache

from expectations.suites.arrivals import ARRIVAL_SUITES
from expectations.suites.arrivals.from_contract import Arrival, History
from expectations.validation import ROW
from expectations.verdicts import RuleResult, Status
from ml.settings import PREFIX, Settings, SettingsError
from ml.shop.contract import CONTRACT
from ml.shop.contract.table import Table
from ml.stores.quarantine import UNPARSED_RULE as UNPARSED_RULE

SHARE_RULE = "quarantined_share"


@lru_cache
def row_rules(table: str) -> tuple[str, ...]:
    """Names of all rules that can set a row of a table aside."""
    contract = CONTRACT[table]
    names = [
        (rule.meta or {})["rule"]
        for is_text in (False, True)
        for rule in ARRIVAL_SUITES[table](_any_arrival(contract, is_text))
        if (rule.meta or {})["scope"] == ROW
    ]
    return tuple(dict.fromkeys([*names, UNPARSED_RULE]))


def _any_arrival(table: Table, is_text: bool) -> Arrival:
    return Arrival(
        table=table,
        first_day=date(2000, 1, 1),
        last_day=date(2000, 1, 1),
        clock=datetime(2000, 1, 2, tzinfo=UTC),
        expected_day=None,
        currency="",
        delivered=frozenset(column.name for column in table.columns),
        is_text=is_text,
        quarantine_budget=0,
        history=History(),
    )


def check_settings(settings: Settings) -> None:
    """Refuse budgets and owners of tables or rules that there are not: they would hold for nothing.

    Raises:
        SettingsError: A name is unknown.
    """
    problems = []
    tables = ", ".join(CONTRACT)
    if any(table not in CONTRACT for table in settings.owners):
        problems.append(f"{PREFIX}OWNERS: a table is not in the shop contract; its tables are {tables}")
    for name in settings.quarantine_budgets:
        table, _, rule = name.partition(".")
        if table not in CONTRACT:
            problems.append(f"{PREFIX}QUARANTINE_BUDGETS: a table is not in the shop contract; its tables are {tables}")
        elif rule and rule not in row_rules(table):
            rules = ", ".join(row_rules(table))
            problems.append(f"{PREFIX}QUARANTINE_BUDGETS: a rule of {table} is unknown; its rules are {rules}")
    if problems:
        raise SettingsError("; ".join(dict.fromkeys(problems)))


def table_budget(settings: Settings, table: Table) -> float:
    """Largest share of a batch of this table that may be set aside."""
    return settings.quarantine_budgets.get(table.name, table.quarantine_budget)


def judge_budgets(settings: Settings, table: Table, rows_in: int, set_aside: Mapping[str, int]) -> list[RuleResult]:
    """The table's budget, then those of its rules.

    Args:
        set_aside: Rule -> rows that it set aside.
    """
    results = [_share(SHARE_RULE, table_budget(settings, table), rows_in, sum(set_aside.values()), "rows set aside")]
    for name, budget in settings.quarantine_budgets.items():
        of_table, _, rule = name.partition(".")
        if of_table == table.name and rule:
            what = f"rows set aside by {rule}"
            results.append(_share(f"{SHARE_RULE}.{rule}", budget, rows_in, set_aside.get(rule, 0), what))
    return results


def _share(name: str, budget: float, rows_in: int, count: int, what: str) -> RuleResult:
    share = count / rows_in if rows_in else 0.0
    status = Status.FAILED if share > budget else Status.PASSED
    return RuleResult(
        name, "batch", status, f"{share:.2%} ({count:,} of {rows_in:,})", f"at most {100 * budget:.4g}% of {what}"
    )
