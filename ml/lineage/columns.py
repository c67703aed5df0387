"""The columns of one query: what each is computed from, and what decides its rows. Parsed, never guessed.

A reference ends at a table that the query reads. `*` stands for that table's rows: what `count(*)` counts, and what a
filter or a join picks from.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify

ROWS = "*"
_DIALECT = "duckdb"
# Where tables are kept that a query names without a schema.
_NAMELESS = "main"
# Their value is a place in an order, or a number of rows.
_RANKING = (exp.RowNumber, exp.Rank, exp.DenseRank, exp.PercentRank, exp.CumeDist, exp.Ntile)


class UnknownLineage(Exception):
    """The lineage of a query cannot be told; the message says why."""


class Ref(NamedTuple):
    """A column of a dataset; column `*` is its rows."""

    dataset: str
    column: str


@dataclass(frozen=True)
class Sources:
    """What a column is made of.

    Attributes:
        derives: Its value is computed from these.
        depends: These decide which value it takes: conditions, windows, joins that may find nothing.
    """

    derives: frozenset[Ref] = frozenset()
    depends: frozenset[Ref] = frozenset()

    @property
    def all(self) -> frozenset[Ref]:
        return self.derives | self.depends

    def __or__(self, other: "Sources") -> "Sources":
        return Sources(self.derives | other.derives, self.depends | other.depends)


@dataclass(frozen=True)
class Relation:
    """The output of a query, or a table.

    Attributes:
        rows: What decides which rows there are: rows and filters, joins, groups of what it is made from.
        open_as: Name of a table whose columns nobody declared, so that any column is taken at its word.
    """

    columns: Mapping[str, Sources]
    rows: frozenset[Ref] = frozenset()
    open_as: str | None = None

    def column(self, name: str) -> Sources:
        if name in self.columns:
            return self.columns[name]
        if self.open_as is not None:
            return Sources(frozenset({Ref(self.open_as, name)}))
        raise UnknownLineage(f"column {name} is not known")


@dataclass
class _Frame:
    """Names that an expression of one SELECT can use."""

    sources: dict[str, Relation] = field(default_factory=dict)
    # A left-joined table decides no rows, but whether its columns have a value.
    optional: dict[str, frozenset[Ref]] = field(default_factory=dict)
    rows: frozenset[Ref] = frozenset()
    windows: dict[str, exp.Window] = field(default_factory=dict)
    projections: dict[str, Sources] = field(default_factory=dict)
    outer: "_Frame | None" = None
    parameters: frozenset[str] = frozenset()

    def column(self, column: exp.Column) -> Sources:
        name, table = column.name, column.table
        if table in self.sources:
            found = self.sources[table].column(name)
            return replace(found, depends=found.depends | self.optional.get(table, frozenset()))
        if not table and name in self.parameters:
            return Sources()
        if not table and name in self.projections:
            return self.projections[name]
        if self.outer is not None:
            return self.outer.column(column)
        raise UnknownLineage(f"column {column.sql(_DIALECT)} is not known")


def table_relation(dataset: str, columns: Iterable[str] | None) -> Relation:
    """A table whose every column stands for itself; with None, one whose columns nobody declared."""
    own = {name: Sources(frozenset({Ref(dataset, name)})) for name in columns or ()}
    return Relation(own, frozenset({Ref(dataset, ROWS)}), dataset if columns is None else None)


def query_lineage(
    sql: str,
    schema: Mapping[str, Mapping[str, Iterable[str]]],
    table: Callable[[str, str], Relation],
    neutral: str | None = None,
) -> Relation:
    """Lineage of a query's output columns.

    Args:
        sql: One DuckDB query.
        schema: Schema -> table -> columns, as far as they are known; schema "" when tables are named without one.
        table: Gives the relation of (schema, table).
        neutral: A schema whose functions only spare work and change no result: they count as true.

    Raises:
        UnknownLineage: The query cannot be read, or reads what nobody declared.
    """
    try:
        parsed = sqlglot.parse_one(sql, dialect=_DIALECT)
        for call in list(parsed.find_all(exp.Dot)):
            if neutral is not None and call.this.name == neutral and isinstance(call.expression, exp.Func):
                call.replace(exp.true())
        named = {
            name or _NAMELESS: {each: dict.fromkeys(columns, "unknown") for each, columns in tables.items()}
            for name, tables in schema.items()
        }
        known: dict[str, Any] = named
        for (name, each), columns in _undeclared(parsed, schema).items():
            known.setdefault(name or _NAMELESS, {})[each] = dict.fromkeys(columns, "unknown")
        query = qualify(parsed, schema=known, dialect=_DIALECT, quote_identifiers=False, identify=False)
        return _Reader(table).query(query, {}, None)
    except (SqlglotError, RecursionError) as error:
        # The text quotes SQL and names, never values of rows; its first line is enough.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnknownLineage(f"the query cannot be parsed: {reason[:200]}") from error


def _undeclared(
    parsed: exp.Expr, schema: Mapping[str, Mapping[str, Iterable[str]]]
) -> dict[tuple[str, str], dict[str, None]]:
    """Tables that nobody declared, with the columns that the query itself takes from them by name."""
    steps = {cte.alias for cte in parsed.find_all(exp.CTE)}
    found: dict[tuple[str, str], dict[str, None]] = {}
    for select in parsed.find_all(exp.Select):
        from_ = select.args.get("from_")
        joined = [join.this for join in select.args.get("joins") or ()]
        sources = [from_.this, *joined] if from_ is not None else joined
        for source in sources:
            is_table = isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier)
            if not is_table or (not source.db and source.name in steps) or source.name in schema.get(source.db, {}):
                continue
            columns = found.setdefault((source.db, source.name), {})
            for column in select.find_all(exp.Column):
                is_only = not column.table and len(sources) == 1 and column.find_ancestor(exp.Select) is select
                if is_only or column.table == source.alias_or_name:
                    columns[column.name] = None
    return {key: columns for key, columns in found.items() if columns}


class _Reader:
    """Walks a qualified query from its innermost tables outwards."""

    def __init__(self, table: Callable[[str, str], Relation]) -> None:
        self._table = table

    def query(self, node: exp.Expr, ctes: Mapping[str, Relation], outer: _Frame | None) -> Relation:
        with_ = node.args.get("with_")
        if with_ is not None:
            ctes = dict(ctes)
            for cte in with_.expressions:
                ctes[cte.alias] = self._cte(cte, ctes, outer, is_recursive=bool(with_.args.get("recursive")))
        if isinstance(node, exp.Subquery):
            return self.query(node.this, ctes, outer)
        if isinstance(node, exp.Select):
            return self._select(node, ctes, outer)
        if isinstance(node, exp.SetOperation):
            return self._set_operation(node, ctes, outer)
        raise UnknownLineage(f"{type(node).__name__.upper()} is not read")

    def _cte(self, cte: exp.CTE, ctes: Mapping[str, Relation], outer: _Frame | None, *, is_recursive: bool) -> Relation:
        body = cte.this
        if is_recursive and isinstance(body, exp.SetOperation):
            ctes = {**ctes, cte.alias: _renamed(self.query(body.left, ctes, outer), cte.alias_column_names)}
        return _renamed(self.query(body, ctes, outer), cte.alias_column_names)

    def _set_operation(self, node: exp.SetOperation, ctes: Mapping[str, Relation], outer: _Frame | None) -> Relation:
        if node.args.get("by_name"):
            raise UnknownLineage("UNION BY NAME is not read")
        left, right = self.query(node.left, ctes, outer), self.query(node.right, ctes, outer)
        if len(left.columns) != len(right.columns):
            raise UnknownLineage(f"a union of {len(left.columns)} and {len(right.columns)} columns")
        pairs = zip(left.columns.items(), right.columns.values(), strict=True)
        columns = {name: mine | theirs for (name, mine), theirs in pairs}
        rows = left.rows | right.rows
        if node.args.get("distinct") or not isinstance(node, exp.Union):
            rows |= frozenset(ref for sources in columns.values() for ref in sources.all)
        return Relation(columns, rows)

    def _select(self, node: exp.Select, ctes: Mapping[str, Relation], outer: _Frame | None) -> Relation:
        frame = _Frame(outer=outer, windows={each.name: each for each in node.args.get("windows") or ()})
        if node.args.get("from_") is not None:
            self._join(frame, node.args["from_"].this, None, ctes)
        for join in node.args.get("joins") or ():
            self._join(frame, join.this, join, ctes)
        for lateral in node.args.get("laterals") or ():
            self._join(frame, lateral, None, ctes)
        if node.args.get("where") is not None:
            frame.rows |= self._read(node.args["where"].this, frame, ctes).all
        for projection in node.expressions:
            if projection.is_star:
                raise UnknownLineage("it selects * from a table whose columns are not known")
            frame.projections[projection.alias_or_name] = self._read(projection, frame, ctes)
        rows = frame.rows
        for name in ("group", "having", "qualify"):
            if node.args.get(name) is not None:
                rows |= self._read(node.args[name], frame, ctes).all
        for unnest in (
            each for projection in node.expressions for each in projection.find_all(exp.Unnest, exp.Explode)
        ):
            rows |= self._read(unnest, frame, ctes).all
        columns = dict(frame.projections)
        group, distinct = node.args.get("group"), node.args.get("distinct")
        if group is not None and group.args.get("all"):
            plain = [each.alias_or_name for each in node.expressions if not each.find(exp.AggFunc)]
            rows |= frozenset(ref for name in plain for ref in columns[name].all)
        if distinct is not None:
            on = distinct.args.get("on")
            every = Sources(frozenset(ref for each in columns.values() for ref in each.all))
            rows |= (self._read(on, frame, ctes) if on is not None else every).all
        if node.args.get("order") is not None and (node.args.get("limit") or (distinct and distinct.args.get("on"))):
            rows |= self._read(node.args["order"], frame, ctes).all
        return Relation(columns, rows)

    def _join(self, frame: _Frame, item: exp.Expr, join: exp.Join | None, ctes: Mapping[str, Relation]) -> None:
        name, relation = item.alias_or_name, self._relation(item, ctes, frame)
        before = list(frame.sources)
        frame.sources[name] = relation
        on = join.args.get("on") if join is not None else None
        condition = self._read(on, frame, ctes).all if on is not None else frozenset()
        side = join.side if join is not None else ""
        if side == "LEFT" and join is not None and join.kind not in ("SEMI", "ANTI"):
            frame.optional[name] = relation.rows | condition
            return
        frame.rows |= relation.rows | condition
        if side in ("RIGHT", "FULL"):
            for each in before if side == "RIGHT" else [*before, name]:
                frame.optional[each] = frame.optional.get(each, frozenset()) | condition

    def _relation(self, item: exp.Expr, ctes: Mapping[str, Relation], frame: _Frame) -> Relation:
        if item.args.get("pivots"):
            raise UnknownLineage("PIVOT is not read")
        names = item.alias_column_names
        if isinstance(item, exp.Table) and isinstance(item.this, exp.Identifier):
            is_cte = not item.db and item.name in ctes
            return _renamed(ctes[item.name] if is_cte else self._table(item.db, item.name), names)
        if isinstance(item, exp.Subquery):
            return _renamed(self.query(item.this, ctes, frame), names)
        if isinstance(item, exp.Lateral) and isinstance(item.this, exp.Subquery):
            return _renamed(self.query(item.this.this, ctes, frame), names)
        if isinstance(item, exp.Values):
            return Relation(dict.fromkeys(names, Sources()))
        # A table function: each of its columns is computed from its arguments.
        made = self._read_parts(item, frame, ctes)
        return Relation(dict.fromkeys(names or [item.alias_or_name], made), made.all)

    def _read(self, node: exp.Expr, frame: _Frame, ctes: Mapping[str, Relation]) -> Sources:
        """What an expression's value is made of."""
        if isinstance(node, exp.Column):
            return frame.column(node)
        if isinstance(node, exp.Query):
            inner = self.query(node, ctes, frame)
            made = _union(inner.columns.values())
            return Sources(made.derives, made.depends | inner.rows)
        if isinstance(node, exp.Case):
            return self._read_case(node, frame, ctes)
        if isinstance(node, exp.If):
            branches = [node.args[name] for name in ("true", "false") if node.args.get(name) is not None]
            return self._conditional([node.this], branches, frame, ctes)
        if isinstance(node, exp.Filter):
            return self._conditional([node.expression], [node.this], frame, ctes)
        if isinstance(node, exp.Window):
            return self._read_window(node, frame, ctes)
        if isinstance(node, exp.Lambda):
            parameters = frozenset(each.name for each in node.expressions)
            return self._read(node.this, replace(frame, parameters=frame.parameters | parameters), ctes)
        if isinstance(node, _RANKING) or (isinstance(node, exp.Count) and isinstance(node.this, exp.Star)):
            return Sources(frozenset(ref for ref in frame.rows if ref.column == ROWS), frame.rows)
        if isinstance(node, exp.Star):
            raise UnknownLineage("it uses * in an expression")
        return self._read_parts(node, frame, ctes)

    def _read_parts(self, node: exp.Expr, frame: _Frame, ctes: Mapping[str, Relation]) -> Sources:
        return _union(self._read(part, frame, ctes) for part in node.iter_expressions())

    def _read_case(self, node: exp.Case, frame: _Frame, ctes: Mapping[str, Relation]) -> Sources:
        branches = node.args["ifs"]
        results = [branch.args["true"] for branch in branches]
        if node.args.get("default") is not None:
            results.append(node.args["default"])
        operand = [node.this] if node.this is not None else []
        return self._conditional([*operand, *(branch.this for branch in branches)], results, frame, ctes)

    def _read_window(self, node: exp.Window, frame: _Frame, ctes: Mapping[str, Relation]) -> Sources:
        specifications = [node]
        if node.alias:
            if node.alias not in frame.windows:
                raise UnknownLineage(f"window {node.alias} is not known")
            specifications.append(frame.windows[node.alias])
        partition = [part for each in specifications for part in each.args.get("partition_by") or ()]
        order = [each.args["order"] for each in specifications if each.args.get("order") is not None]
        if isinstance(node.this, _RANKING) and order:
            return self._conditional(partition, order, frame, ctes)
        return self._conditional([*partition, *order], [node.this], frame, ctes)

    def _conditional(
        self,
        conditions: Iterable[exp.Expr],
        results: Iterable[exp.Expr],
        frame: _Frame,
        ctes: Mapping[str, Relation],
    ) -> Sources:
        """Values from the results; the conditions only decide which."""
        made = _union(self._read(each, frame, ctes) for each in results)
        decided = _union(self._read(each, frame, ctes) for each in conditions)
        return Sources(made.derives, made.depends | decided.all)


def _union(found: Iterable[Sources]) -> Sources:
    total = Sources()
    for each in found:
        total |= each
    return total


def _renamed(relation: Relation, names: Iterable[str]) -> Relation:
    """A relation under the column names of its alias, `as name (a, b)`."""
    given = list(names)
    if not given:
        return relation
    unnamed = list(relation.columns)[len(given) :]
    columns = zip([*given, *unnamed], relation.columns.values(), strict=False)
    return replace(relation, columns=dict(columns))
