"""Judges the marts of a build that waits for publication."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import duckdb
import pandas as pd

from expectations.profile import profile_columns
from expectations.suites.marts import MART_SUITES
from expectations.suites.marts.staged import NEWEST_DAY, ROWS, STRAY, STRAY_BATCHES, StagedMart
from expectations.suites.measured import COLUMNS, FACTS, with_limits
from expectations.validation import Finding, validate
from expectations.verdicts import Gate, RuleResult, Status, Verdict
from ml.settings import Settings
from ml.stores.warehouse import Marts

_DAY_COLUMNS = {
    "fct_orders": "order_date",
    "fct_order_lines": "order_date",
    "feat_customer": "as_of_date",
    "feat_product": "as_of_date",
}
_NAMED_AT_MOST = 5


def judge_staged(settings: Settings, partition: date, marts: Marts, published: Marts | None) -> list[Verdict]:
    """One verdict per mart of a build, marts that a suite asks for and the build lacks included.

    Args:
        published: What readers see now, to compare shares of nulls with.
    """
    connection = marts.connect()
    before = published.connect() if published else None
    try:
        built = set(marts.version.tables())
        verdicts = [_judge(settings, partition, marts, connection, before, name) for name in sorted(built)]
    finally:
        connection.close()
        if before is not None:
            before.close()
    return [*verdicts, *(_absent(partition, name) for name in sorted(set(MART_SUITES) - built))]


def _judge(
    settings: Settings,
    partition: date,
    marts: Marts,
    connection: duckdb.DuckDBPyConnection,
    before: duckdb.DuckDBPyConnection | None,
    name: str,
) -> Verdict:
    mart = StagedMart(name, _newest_open_day(settings, marts.target_day), marts.as_of_date)
    profile = with_limits(
        profile_columns(connection, name, nan_is_missing=False), _null_shares(before, name) if before else {}
    )
    frames = {
        FACTS: _facts(connection, name),
        COLUMNS: profile,
        STRAY_BATCHES: _stray(connection) if name == "fct_row_conservation" else pd.DataFrame(),
    }
    suite = MART_SUITES.get(name)
    rules = judge_frames(frames, suite(mart) if suite else [])
    rows = int(frames[FACTS][ROWS].iloc[0])
    verdict = Verdict(Gate.MARTS, name, _content_id(marts, name), partition, tuple(rules), rows_in=rows)
    return replace(verdict, rows_published=rows) if verdict.status is Status.PASSED else verdict


def judge_frames(frames: dict[str, pd.DataFrame], expectations: Sequence) -> list[RuleResult]:  # type: ignore[type-arg]
    """Judge frames of measures, each by the expectations of its scope; what fails is named by its first column."""
    rules = []
    for scope, frame in frames.items():
        own = [expectation for expectation in expectations if expectation.meta["scope"] == scope]
        rules += [_named(finding, frame) for finding in validate(frame, own)]
    return rules


def _named(finding: Finding, frame: pd.DataFrame) -> RuleResult:
    result = finding.as_result()
    if not len(finding.positions):
        return result
    names = frame.iloc[finding.positions, 0].astype(str).tolist()
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return replace(result, observed=f"{', '.join(names[:_NAMED_AT_MOST])}{more}", rows=0)


def _newest_open_day(settings: Settings, target_day: date) -> date:
    day = target_day
    while settings.is_closed(day):
        day -= timedelta(days=1)
    return day


def _facts(connection: duckdb.DuckDBPyConnection, name: str) -> pd.DataFrame:
    day = f"max({_DAY_COLUMNS[name]})" if name in _DAY_COLUMNS else "null::date"
    query = f"select count(*), {day} from {name}"  # noqa: S608 - names of our own marts and columns
    ((rows, newest),) = connection.execute(query).fetchall()
    return pd.DataFrame({ROWS: [rows], NEWEST_DAY: [newest.toordinal() if newest else None]})


def _stray(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    stray: pd.DataFrame = connection.execute(
        f"""
        select
            table_name || ' ' || batch_id as batch,
            (rows_in - rows_published - rows_quarantined - rows_collapsed)::bigint as {STRAY}
        from fct_row_conservation
        order by batch
        """  # noqa: S608 - the one name is ours
    ).df()
    return stray


def _null_shares(connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, float]:
    tables = {
        row[0] for row in connection.execute("select view_name from duckdb_views() where not internal").fetchall()
    }
    if name not in tables:
        return {}
    profile = profile_columns(connection, name, nan_is_missing=False)
    return dict(zip(profile["column"], profile["null_share"], strict=True))


def _content_id(marts: Marts, name: str) -> str:
    """Names what was judged by its content: the same rows again are the same verdict."""
    content = "".join(f"{part.partition}:{part.sha256}\n" for part in sorted(marts.version.parts_of(name)))
    return f"{marts.target_day}.{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _absent(partition: date, name: str) -> Verdict:
    rule = RuleResult("built", "batch", Status.FAILED, "no such mart in the build", f"the mart {name}")
    return Verdict(Gate.MARTS, name, f"{partition}.missing", partition, (rule,))
