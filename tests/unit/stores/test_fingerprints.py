import copy
from typing import Any

import pytest

from ml.stores.fingerprints import feature_fingerprints, normalized_sql, upstream


def node(name: str, sql: str, layer: str = "intermediate", database: str = "dev") -> dict[str, Any]:
    return {
        "name": name,
        "unique_id": f"model.shopwright.{name}",
        "resource_type": "model",
        "fqn": ["shopwright", *layer.split("."), name],
        "database": database,
        "columns": {"customer_id": {"data_type": "varchar"}},
        "compiled_code": sql,
    }


@pytest.fixture
def manifest() -> dict[str, Any]:
    """feat_a <- int_a <- raw.orders; feat_b stands alone."""
    nodes = [
        node("int_a", 'select * from "dev"."raw"."orders"'),
        node("feat_a", 'select * from "dev"."intermediate"."int_a"', "marts.features"),
        node("feat_b", "select 1 as customer_id", "marts.features"),
        node("fct_c", "select 1 as customer_id", "marts.core"),
    ]
    source = {"name": "orders", "resource_type": "source", "database": "dev", "columns": {}}
    return {
        "nodes": {each["unique_id"]: each for each in nodes},
        "sources": {"source.shopwright.raw.orders": source},
        "parent_map": {
            "model.shopwright.int_a": ["source.shopwright.raw.orders"],
            "model.shopwright.feat_a": ["model.shopwright.int_a"],
            "model.shopwright.feat_b": [],
            "model.shopwright.fct_c": [],
            "source.shopwright.raw.orders": [],
        },
    }


def test_feature_marts_have_fingerprints_and_other_marts_have_none(manifest: dict[str, Any]) -> None:
    assert set(feature_fingerprints(manifest)) == {"feat_a", "feat_b"}


def test_a_change_far_upstream_changes_only_what_is_built_from_it(manifest: dict[str, Any]) -> None:
    changed = copy.deepcopy(manifest)
    changed["nodes"]["model.shopwright.int_a"]["compiled_code"] += " where amount_cents > 0"
    before, after = feature_fingerprints(manifest), feature_fingerprints(changed)
    assert before["feat_a"] != after["feat_a"]
    assert before["feat_b"] == after["feat_b"]


def test_a_column_of_another_type_is_another_feature(manifest: dict[str, Any]) -> None:
    changed = copy.deepcopy(manifest)
    changed["nodes"]["model.shopwright.feat_b"]["columns"]["customer_id"]["data_type"] = "bigint"
    assert feature_fingerprints(manifest)["feat_b"] != feature_fingerprints(changed)["feat_b"]


def test_comments_space_and_the_databases_name_do_not_matter(manifest: dict[str, Any]) -> None:
    changed = copy.deepcopy(manifest)
    for each in changed["nodes"].values():
        each["database"] = "scratch"
        each["compiled_code"] = "-- another day\n" + each["compiled_code"].replace('"dev"', '"scratch"') + "\n\n"
    assert feature_fingerprints(manifest) == feature_fingerprints(changed)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select  1\n  from t", "select 1 from t"),
        ("select 1 -- one\nfrom t /* all\nof it */ where a", "select 1 from t where a"),
        ("select '--  kept' as a", "select '--  kept' as a"),
        ("select 'it''s -- kept'", "select 'it''s -- kept'"),
        ('select "a  b" from t', 'select "a  b" from t'),
    ],
)
def test_quoted_text_is_kept_and_comments_are_not(sql: str, expected: str) -> None:
    assert normalized_sql(sql) == expected


def test_upstream_holds_the_model_itself_and_everything_below(manifest: dict[str, Any]) -> None:
    assert upstream(manifest, "model.shopwright.feat_a") == {
        "model.shopwright.feat_a",
        "model.shopwright.int_a",
        "source.shopwright.raw.orders",
    }
