"""What one output column of a query is made of, as text: the parts of each step that it uses, and no others.

The query is read once, whatever the number of its columns: two hundred of them, each by a walk over all steps, took
109 s, and take 4 s this way. Filters, joins and groups always count: they decide which rows there are.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

_DIALECT = "duckdb"


class _Used(NamedTuple):
    step: int
    column: str


@dataclass(frozen=True)
class _Step:
    """One SELECT or UNION of the query.

    Attributes:
        columns: Output column -> its text.
        uses: Output column -> columns of other steps that it names.
        rest: Text of all else: tables, filters, joins, groups, order.
        always: Columns of other steps, or of its own, that the rest names.
        reads: Steps that it selects from.
    """

    columns: dict[str, str]
    uses: dict[str, frozenset[_Used]]
    rest: str
    always: frozenset[_Used]
    reads: frozenset[int]


class UsedColumns:
    """The steps of a qualified query.

    Args:
        query: A SELECT whose columns are all named with their table (sqlglot's `qualify`).
    """

    def __init__(self, query: exp.Expr) -> None:
        scopes = traverse_scope(query)
        self._numbers = {id(scope): number for number, scope in enumerate(scopes)}
        owners: dict[int, Scope] = {}
        for scope in scopes:
            # A column of an outer query stands in the inner scope too: the outer one comes later and knows it.
            for column in scope.columns:
                owners[id(column)] = scope
        self._owners = owners
        self._steps: list[_Step] = []
        for scope in scopes:  # branches of a UNION come before it
            self._steps.append(self._step(scope))

    def text_of(self, wanted: Iterable[str]) -> list[str]:
        """The parts of all steps that these output columns of the query use, in the order of the steps."""
        root = len(self._steps) - 1
        waiting = [_Used(root, column) for column in wanted]
        used: set[_Used] = set()
        visited: set[int] = set()

        def visit(step: int) -> None:
            if step not in visited:
                visited.add(step)
                waiting.extend(self._steps[step].always)
                for read in self._steps[step].reads:
                    visit(read)

        visit(root)
        while waiting:
            current = waiting.pop()
            step = self._steps[current.step]
            if current in used or current.column not in step.columns:
                continue
            used.add(current)
            visit(current.step)
            waiting.extend(step.uses[current.column])
        text = []
        for number in sorted(visited):
            step = self._steps[number]
            text += [step.columns[name] for name in step.columns if _Used(number, name) in used]
            text.append(step.rest)
        return text

    def _step(self, scope: Scope) -> _Step:
        reads = frozenset(
            self._numbers[id(source)]
            for _, source in scope.selected_sources.values()
            if isinstance(source, Scope) and id(source) in self._numbers
        )
        if isinstance(scope.expression, exp.SetOperation):
            return self._united(scope)
        own = self._numbers[id(scope)]
        query = scope.expression
        if not isinstance(query, exp.Select):  # a table function
            return _Step({}, {}, query.sql(_DIALECT, comments=False), self._named_in(query, own), reads)
        columns = {each.alias_or_name: each.sql(_DIALECT, comments=False) for each in query.expressions}
        uses = {each.alias_or_name: self._named_in(each, own) for each in query.expressions}
        rest = query.copy()
        rest.set("expressions", [exp.Star()])
        rest.set("with_", None)
        parts = [part for name, part in query.args.items() if name not in ("expressions", "with_")]
        always = self._named_in(parts, own)
        if query.args.get("distinct"):  # what is selected decides which rows there are
            always |= {_Used(own, name) for name in columns}
        return _Step(columns, uses, rest.sql(_DIALECT, comments=False), always, reads)

    def _united(self, scope: Scope) -> _Step:
        """A UNION: a column of it is the column at the same place of each branch."""
        branches = [self._numbers[id(branch)] for branch in scope.set_operation_scopes]
        names = [list(self._steps[branch].columns) for branch in branches]
        columns = dict.fromkeys(names[0], "")
        uses = {
            name: frozenset(_Used(branch, of[place]) for branch, of in zip(branches, names, strict=True))
            for place, name in enumerate(names[0])
        }
        kind = f"{type(scope.expression).__name__} {scope.expression.args.get('distinct')}"
        is_all = scope.expression.args.get("distinct") is False
        own = self._numbers[id(scope)]
        always = frozenset() if is_all else frozenset(_Used(own, name) for name in columns)
        return _Step(columns, uses, kind, always, frozenset(branches))

    def _named_in(self, parts: object, own: int) -> frozenset[_Used]:
        found: set[_Used] = set()
        for node in _expressions(parts):
            for column in node.find_all(exp.Column):
                scope = self._owners.get(id(column))
                source = scope.sources.get(column.table) if scope is not None and column.table else None
                if isinstance(source, Scope):
                    found.add(_Used(self._numbers[id(source)], column.name))
                elif source is None:  # an alias of the same step, as in ORDER BY
                    found.add(_Used(own, column.name))
        return frozenset(found)


def _expressions(parts: object) -> list[exp.Expr]:
    if isinstance(parts, exp.Expr):
        return [parts]
    if isinstance(parts, list):
        return [each for part in parts for each in _expressions(part)]
    return []
