"""Fingerprints of single features, on a hand-made manifest of two models."""

import copy
from typing import Any

import pytest

from ml.stores.column_fingerprints import column_fingerprints, known_or_new_fingerprints

STAGED = "select customer_id, day, cents, coalesce(discount, 0) as discount from raw.lines where cents > 0"
MART = """
with lines as (select * from "scratch"."staging"."stg_lines"),
sums as (
    select customer_id, day as as_of_date, day as feature_at, count(*) as count_lines, sum(cents) as amount_cents,
        sum(discount) / sum(cents) as discount_share
    from lines group by customer_id, day
),
final as (select * from sums)
select * from final
"""
COLUMNS = ("customer_id", "as_of_date", "feature_at", "count_lines", "amount_cents", "discount_share")


def model(name: str, schema: str, sql: str, columns: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "name": name,
        "schema": schema,
        "database": "scratch",
        "resource_type": "model",
        "compiled_code": sql,
        "columns": {column: {"data_type": "bigint"} for column in columns},
    }


@pytest.fixture
def manifest() -> dict[str, Any]:
    raw = {
        "name": "lines",
        "columns": {name: {"data_type": "bigint"} for name in ("customer_id", "day", "cents", "discount")},
    }
    return {
        "nodes": {"m.stg": model("stg_lines", "staging", STAGED), "m.feat": model("feat_x", "features", MART, COLUMNS)},
        "sources": {"s.lines": raw},
        "parent_map": {"m.feat": ["m.stg"], "m.stg": ["s.lines"], "s.lines": []},
    }


def changed(manifest: dict[str, Any], node: str, old: str, new: str) -> set[str]:
    """Features whose fingerprint another text in a model's SQL changes."""
    edited = copy.deepcopy(manifest)
    assert old in edited["nodes"][node]["compiled_code"]
    edited["nodes"][node]["compiled_code"] = edited["nodes"][node]["compiled_code"].replace(old, new)
    before, after = column_fingerprints(manifest, "feat_x"), column_fingerprints(edited, "feat_x")
    assert len(after) == len(set(after.values()))
    return {name.split(".")[1] for name in before if before[name] != after[name]}


def test_a_feature_beside_it_is_no_change_of_a_feature(manifest):
    assert (
        changed(manifest, "m.feat", "count(*) as count_lines", "count(*) as count_lines, 1 + count(*) as more") == set()
    )


def test_an_edited_expression_changes_its_own_feature_only(manifest):
    assert changed(manifest, "m.feat", "sum(cents) as amount_cents", "max(cents) as amount_cents") == {"amount_cents"}


def test_an_edit_upstream_changes_the_features_made_of_it(manifest):
    assert changed(manifest, "m.stg", "coalesce(discount, 0)", "coalesce(discount, 1)") == {"discount_share"}


def test_an_edit_of_which_rows_there_are_changes_all(manifest):
    assert changed(manifest, "m.stg", "cents > 0", "cents >= 0") == {
        "customer_id",
        "count_lines",
        "amount_cents",
        "discount_share",
    }


def test_a_column_of_a_union_is_that_of_each_branch(manifest):
    both = STAGED + " union all select customer_id, day, 0 as cents, 7 as discount from raw.lines"  # noqa: S608 - read by nobody
    manifest["nodes"]["m.stg"]["compiled_code"] = both
    assert changed(manifest, "m.stg", "0 as cents", "1 as cents") == {"amount_cents", "discount_share"}
    assert changed(manifest, "m.stg", "7 as discount", "8 as discount") == {"discount_share"}


def test_layout_and_comments_change_nothing(manifest):
    assert changed(manifest, "m.feat", "from lines group", "from lines  -- all of them\n    group") == set()


def test_sql_that_cannot_be_read_has_no_fingerprints_of_columns(manifest):
    manifest["nodes"]["m.feat"]["compiled_code"] = "select from where"
    assert column_fingerprints(manifest, "feat_x") == {}


def test_a_mart_that_did_not_change_keeps_what_is_published(manifest):
    published = {"fingerprints": {"feat_x": "same"}, "column_fingerprints": {"feat_x.count_lines": "known"}}
    assert known_or_new_fingerprints(manifest, {"feat_x": "same"}, published) == {"feat_x.count_lines": "known"}
    anew = known_or_new_fingerprints(manifest, {"feat_x": "other"}, published)
    assert anew == column_fingerprints(manifest, "feat_x")
    assert set(anew) == {f"feat_x.{name}" for name in COLUMNS if name not in ("as_of_date", "feature_at")}
