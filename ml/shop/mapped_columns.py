"""The SQL of a mapping: what each rule says about the columns c0, c1 ... of a file's rows.

Columns of the file go by number, never by their names; texts of the mapping are quoted. Every column comes out as
text: what could be read in the contract's own form, what could not as it was found, so that the arrival gate sees it.
"""

from collections.abc import Mapping as Mapping_
from dataclasses import dataclass
from decimal import Decimal

from ml.shop.contract.table import Column, ColumnType
from ml.shop.mapping import POSITION, ColumnRule, Condition, FileRule, Scalar

_COMPARED = {"above": ">", "at_least": ">=", "below": "<", "at_most": "<="}


@dataclass(frozen=True)
class Prepared:
    """What the SQL can name.

    Attributes:
        columns: Column of the file -> its name in the SQL.
        moments: Contract column -> the SQL name of its moment (timestamps that a file gives).
        numbers: Contract column -> the SQL name of its number as text.
        positions: Contract column -> the SQL name of the position that its template asks for.
    """

    columns: Mapping_[str, str]
    moments: Mapping_[str, str]
    numbers: Mapping_[str, str]
    positions: Mapping_[str, str]


def quoted(value: Scalar) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return "'" + text.replace("'", "''") + "'"


def holds(condition: Condition, file: FileRule, columns: Mapping_[str, str], *, if_unreadable: bool) -> str:
    """Whether a condition holds, as SQL that is never null.

    Args:
        if_unreadable: What a comparison says of what is empty or no number.
    """
    value = columns[condition.column]
    word, asked = condition.asked
    match word:
        case "is_empty":
            return f"({value} is {'' if asked else 'not '}null)"
        case "equals" | "in" | "starts_with" | "matches":
            return f"coalesce({_text_test(value, word, asked)}, false)"
        case "not_equals" | "not_in" | "not_starts_with" | "not_matches":
            return f"coalesce(not {_text_test(value, word.removeprefix('not_'), asked)}, true)"
    number = f"try_cast({_plain_number(value, file)} as double)"
    return f"coalesce({number} {_COMPARED[word]} {asked}, {str(if_unreadable).lower()})"


def _text_test(value: str, word: str, asked: str | list[str]) -> str:
    match word:
        case "equals":
            return f"({value} = {quoted(str(asked))})"
        case "in":
            return f"({value} in ({', '.join(map(quoted, asked))}))"
        case "starts_with":
            return f"starts_with({value}, {quoted(str(asked))})"
        case _:
            return f"regexp_full_match({value}, {quoted(str(asked))})"


def _plain_number(value: str, file: FileRule) -> str:
    if file.thousands:
        value = f"replace({value}, {quoted(file.thousands)}, '')"
    return value if file.decimal == "." else f"replace({value}, {quoted(file.decimal)}, '.')"


def text_of(column: Column, rule: ColumnRule, file: FileRule, prepared: Prepared) -> str:
    """A contract column of one row, as text."""
    if rule.constant is not None:
        return quoted(rule.constant)
    if rule.where is not None:
        return f"({holds(rule.where, file, prepared.columns, if_unreadable=False)})::varchar"
    if rule.delete_where is not None:
        deletes = holds(rule.delete_where, file, prepared.columns, if_unreadable=False)
        return f"case when {deletes} then 'delete' else 'upsert' end"
    if rule.template is not None:
        return _filled(column, rule, prepared)
    if column.name in prepared.numbers:
        return prepared.numbers[column.name]
    assert rule.source is not None, "one of the keys is given"
    value = prepared.columns[rule.source]
    if column.name in prepared.moments:
        return f"coalesce(strftime({prepared.moments[column.name]}, '%Y-%m-%dT%H:%M:%S.%fZ'), {value})"
    if rule.remove is not None:
        value = f"nullif(regexp_replace({value}, {quoted(rule.remove)}, '', 'g'), '')"
    if rule.values is not None:
        cases = " ".join(f"when {quoted(given)} then {quoted(becomes)}" for given, becomes in rule.values.items())
        otherwise = value if rule.otherwise is None else quoted(rule.otherwise)
        return f"(case coalesce({value}, '') {cases} else {otherwise} end)" if cases else otherwise
    if column.type is ColumnType.DATE and rule.format is not None:
        return f"coalesce(strftime({parsed(value, rule.format)}, '%Y-%m-%d'), {value})"
    return value


def parsed(value: str, formats: list[str]) -> str:
    """A text read by the first format that fits, null if none does."""
    return f"try_strptime({value}, [{', '.join(map(quoted, formats))}])"


def _filled(column: Column, rule: ColumnRule, prepared: Prepared) -> str:
    assert rule.template is not None, "the rule has a template"
    rest, pieces = rule.template, []
    for part in rule.parts:
        before, rest = rest.split("{" + part + "}", 1)
        pieces.append(quoted(before))
        pieces.append(f"{prepared.positions[column.name]}::varchar" if part == POSITION else prepared.columns[part])
    return f"({' || '.join([*pieces, quoted(rest)])})"


def taken_of(column: Column, rule: ColumnRule, file: FileRule, prepared: Prepared) -> str:
    """A contract column of the rows that become one, as text; `_order` tells which of them is first."""
    value = text_of(column, rule, file, prepared)
    if rule.take in ("min", "max"):
        return _extreme(column, rule.take, value, prepared)
    match rule.take:
        case "first":
            return f"arg_min({value}, _order) filter ({value} is not null)"
        case "last":
            return f"arg_max({value}, _order) filter ({value} is not null)"
        case "sum":
            return _sum(column, value)
    return f"min({value})"  # the same in all of them


def _extreme(column: Column, take: str, value: str, prepared: Prepared) -> str:
    if column.name in prepared.moments:
        ordered = prepared.moments[column.name]
    elif column.type in (ColumnType.INT64, ColumnType.FLOAT64):
        ordered = f"try_cast({value} as double)"
    else:
        return f"{take}({value})"
    # Where none can be read, what was found is handed on.
    return f"coalesce(arg_{take}({value}, {ordered}) filter ({ordered} is not null), min({value}))"


def _sum(column: Column, value: str) -> str:
    kind = "decimal(38, 0)" if column.type is ColumnType.INT64 else "decimal(38, 9)"
    number = f"try_cast({value} as {kind})"
    # Part of a sum is no sum: null where that is allowed, else what could not be read.
    unreadable = "null" if column.nullable else f"min({value}) filter ({number} is null)"
    total = f"(sum({number})::{kind})::varchar"
    if column.type is not ColumnType.INT64:
        total = f"(sum({number})::double)::varchar"
    return f"case when count({value}) = count({number}) then {total} else {unreadable} end"


def factor_of(rule: ColumnRule) -> Decimal:
    return Decimal(1) if rule.factor is None else Decimal(rule.factor)
