"""Judges a training set before a model sees it."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd

from expectations.marts import judge_frames
from expectations.profile import profile_columns
from expectations.suites.measured import COLUMNS, FACTS, with_limits
from expectations.suites.model_inputs import MODEL_INPUT_SUITES
from expectations.suites.model_inputs.facts import (
    AUDIT_COLUMNS,
    DUPLICATES,
    LABEL_CLASSES,
    LABEL_SHARE,
    LABEL_STRANGERS,
    LARGEST_NULL_SHARE,
    MISSING_COLUMNS,
    ROWS,
    ModelInputConfig,
)
from expectations.verdicts import Gate, RuleResult, Status, Verdict
from ml.shop.contract import CONTRACT
from ml.shop.contract.table import Tag

_RELATION = "training_set"


def audit_only_columns() -> frozenset[str]:
    """Columns of the contract that only measure whether groups are treated alike."""
    return frozenset(
        column.name for table in CONTRACT.values() for column in table.columns if Tag.AUDIT_ONLY in column.tags
    )


def judge_training_set(rows: pd.DataFrame | Path, config: ModelInputConfig, partition: date, version: str) -> Verdict:
    """The verdict on a training set.

    Args:
        rows: A frame, or the Parquet file (or folder of files) that holds it.
        version: Names the training set in the verdict.
    """
    with duckdb.connect() as connection:
        if isinstance(rows, Path):
            connection.read_parquet(str(rows / "*.parquet" if rows.is_dir() else rows)).create_view(_RELATION)
        else:
            connection.register(_RELATION, rows)
        present = [row[0] for row in connection.execute(f"describe {_RELATION}").fetchall()]
        needed = (*config.key, config.cut, config.label, *config.features)
        missing = [name for name in needed if name not in present]
        forbidden = sorted((audit_only_columns() | set(config.forbidden)) & set(present))
        if missing:
            return _verdict(config, partition, version, _structure(missing, forbidden), 0)
        profile = profile_columns(connection, _RELATION, nan_is_missing=True, columns=config.features)
        facts = _facts(connection, config, profile, forbidden)
    rules = judge_frames({FACTS: facts, COLUMNS: with_limits(profile, {})}, MODEL_INPUT_SUITES[config.product](config))
    return _verdict(config, partition, version, _with_names(rules, forbidden), int(facts[ROWS].iloc[0]))


def _facts(
    connection: duckdb.DuckDBPyConnection, config: ModelInputConfig, profile: pd.DataFrame, forbidden: list[str]
) -> pd.DataFrame:
    key = ", ".join(f'"{name}"' for name in (*config.key, *([config.cut] if config.has_cuts else [])))
    query = f"""
        select
            count(*) as {ROWS},
            count(*) - (select count(*) from (select distinct {key} from {_RELATION})) as {DUPLICATES},
            {_own_facts(config)}
            count(*) filter (coalesce("{config.label}" not in (0, 1), true)) as {LABEL_STRANGERS},
            count(distinct "{config.label}") filter ("{config.label}" in (0, 1)) as {LABEL_CLASSES},
            coalesce(avg("{config.label}"::double), 0) as {LABEL_SHARE}
        from {_RELATION}
    """  # noqa: S608 - names of our own columns
    facts: pd.DataFrame = connection.execute(query).df()
    supplied = profile[~profile["column"].isin(config.not_supplied)]
    return facts.assign(
        **{
            MISSING_COLUMNS: 0,
            AUDIT_COLUMNS: len(forbidden),
            LARGEST_NULL_SHARE: float(supplied["null_share"].max()) if len(supplied) else 0.0,
        }
    )


def _own_facts(config: ModelInputConfig) -> str:
    """What only this product's training set has, as terms of a select list."""
    names = {"key": config.key[0], "cut": config.cut, "end": getattr(config, "end", "")}
    return " ".join(f"{term.format(**names)} as {name}," for name, term in config.facts.items())


def _structure(missing: list[str], forbidden: list[str]) -> list[RuleResult]:
    rules = [
        RuleResult(
            "columns_present", "batch", Status.FAILED, f"{', '.join(missing)} missing", "every column of the model"
        )
    ]
    if forbidden:
        rules.append(RuleResult("no_audit_columns", "batch", Status.FAILED, ", ".join(forbidden), "none"))
    return rules


def _with_names(rules: list[RuleResult], forbidden: list[str]) -> list[RuleResult]:
    return [
        replace(rule, observed=", ".join(forbidden)) if rule.rule == "no_audit_columns" and forbidden else rule
        for rule in rules
    ]


def _verdict(config: ModelInputConfig, partition: date, version: str, rules: list[RuleResult], rows: int) -> Verdict:
    verdict = Verdict(Gate.MODEL_INPUTS, config.product, version, partition, tuple(rules), rows_in=rows)
    return replace(verdict, rows_published=rows) if verdict.status is Status.PASSED else verdict
