"""Judges the marts of a build that waits for publication."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import duckdb
import pandas as pd

from expectations.part_measures import Measures, PartMeasures
from expectations.profile import as_profile
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
    measures = PartMeasures(marts.store, _DAY_COLUMNS)
    verdicts = []
    for name in marts.version.tables():
        measured = measures.of_table(marts.version, name)
        before = measures.of_table(published.version, name) if published else None
        if measured is not None:
            verdicts.append(_judge(settings, partition, marts, name, measured, before))
    measures.forget_gone()
    absent = sorted(set(MART_SUITES) - set(marts.version.tables()))
    return [*verdicts, *(_absent(partition, name) for name in absent)]


def _judge(
    settings: Settings, partition: date, marts: Marts, name: str, measured: Measures, before: Measures | None
) -> Verdict:
    mart = StagedMart(name, _newest_open_day(settings, marts.target_day), marts.as_of_date)
    frames = {
        FACTS: _facts(measured),
        COLUMNS: with_limits(as_profile(measured.columns), _null_shares(before)),
        STRAY_BATCHES: _stray(marts) if name == "fct_row_conservation" else pd.DataFrame(),
    }
    suite = MART_SUITES.get(name)
    rules = judge_frames(frames, suite(mart) if suite else [])
    verdict = Verdict(Gate.MARTS, name, _content_id(marts, name), partition, tuple(rules), rows_in=measured.rows)
    return replace(verdict, rows_published=measured.rows) if verdict.status is Status.PASSED else verdict


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


def _facts(measured: Measures) -> pd.DataFrame:
    newest = measured.newest_day
    return pd.DataFrame({ROWS: [measured.rows], NEWEST_DAY: [newest.toordinal() if newest else None]})


def _stray(marts: Marts) -> pd.DataFrame:
    files = [str(path) for path in marts.store.open_table(marts.version, "fct_row_conservation")]
    with duckdb.connect() as connection:
        connection.read_parquet(files).create_view("conservation")
        stray: pd.DataFrame = connection.execute(
            f"""
            select
                table_name || ' ' || batch_id as batch,
                (rows_in - rows_published - rows_quarantined - rows_collapsed)::bigint as {STRAY}
            from conservation
            order by batch
            """  # noqa: S608 - the one name is ours
        ).df()
        return stray


def _null_shares(before: Measures | None) -> dict[str, float]:
    if before is None:
        return {}
    profile = as_profile(before.columns)
    return dict(zip(profile["column"], profile["null_share"], strict=True))


def _content_id(marts: Marts, name: str) -> str:
    """Names what was judged by its content: the same rows again are the same verdict."""
    content = "".join(f"{part.partition}:{part.sha256}\n" for part in sorted(marts.version.parts_of(name)))
    return f"{marts.target_day}.{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _absent(partition: date, name: str) -> Verdict:
    rule = RuleResult("built", "batch", Status.FAILED, "no such mart in the build", f"the mart {name}")
    return Verdict(Gate.MARTS, name, f"{partition}.missing", partition, (rule,))
