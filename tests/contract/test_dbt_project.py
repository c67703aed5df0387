"""The dbt project against the shop contract, and against the rules by which its models are written."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ml.shop.contract import CONTRACT
from ml.shop.contract.table import Tag
from ml.stores.dbt_run import DBT_PROJECT_DIR
from ml.stores.raw import BATCHES, BATCHES_SCHEMA, SET_ASIDE_ORDER_LINES, SET_ASIDE_SCHEMA, raw_schema

SOURCES = DBT_PROJECT_DIR / "models" / "staging" / "_shop__sources.yml"
DUCKDB_TYPES = {
    "string": "varchar",
    "int64": "bigint",
    "double": "double",
    "bool": "boolean",
    "date32[day]": "date",
    "timestamp[us, tz=UTC]": "timestamptz",
}
PUBLISHED = {
    "dim_customers",
    "dim_customers_history",
    "dim_products",
    "dim_products_history",
    "fct_orders",
    "fct_order_lines",
    "feat_customer",
    "feat_product",
    "audit_demographics",
    "fct_order_payments",
    "feat_order_risk",
    "fct_fraud_labels",
    "fct_fraud_decisions",
    "fct_exposures",
    "fct_row_conservation",
}
NAMES = {
    "staging": r"stg_shop__[a-z_]+",
    "intermediate": r"int_[a-z_]+__[a-z]+(ed|held|known)|int_[a-z_]+__(held|known)",
    "marts": r"(dim|fct|feat|audit)_[a-z_]+",
}
# What makes a model need a unit test: a choice, a window, or arithmetic with money.
NEEDS_UNIT_TEST = re.compile(r"\bcase\b|\bover\b|\bqualify\b|sum\(amount_cents|sum\(discount_cents", re.IGNORECASE)
CLOCKS = re.compile(r"\b(now|today|get_current_timestamp)\s*\(|current_(date|time|timestamp)\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def models(dbt_manifest: dict[str, Any]) -> list[dict[str, Any]]:
    found = [node for node in dbt_manifest["nodes"].values() if node["resource_type"] == "model"]
    assert len(found) > 20
    return found


def declared_sources() -> dict[str, dict[str, Any]]:
    return {table["name"]: table for table in yaml.safe_load(SOURCES.read_text())["sources"][0]["tables"]}


def test_sources_have_the_contracts_tables_and_columns_and_no_others() -> None:
    expected = {name: raw_schema(table) for name, table in CONTRACT.items()}
    expected |= {BATCHES: BATCHES_SCHEMA, SET_ASIDE_ORDER_LINES: SET_ASIDE_SCHEMA}
    declared = declared_sources()
    assert set(declared) - {"clock"} == set(expected)
    for name, schema in expected.items():
        columns = {column["name"]: column["data_type"] for column in declared[name]["columns"]}
        assert columns == {field.name: DUCKDB_TYPES[str(field.type)] for field in schema}, name


def test_sources_carry_the_contracts_tags() -> None:
    declared = declared_sources()
    for name, table in CONTRACT.items():
        tags = {column["name"]: set(column.get("config", {}).get("meta", {})) for column in declared[name]["columns"]}
        for column in table.columns:
            assert tags[column.name] == {tag.value for tag in column.tags}, f"{name}.{column.name}"


def test_audit_only_columns_stay_tagged_up_to_the_mart(models: list[dict[str, Any]]) -> None:
    audit_only = {column.name for column in CONTRACT["demographics"].columns if Tag.AUDIT_ONLY in column.tags}
    for name in ("stg_shop__demographics", "audit_demographics"):
        model = next(model for model in models if model["name"] == name)
        tagged = {column for column, entry in model["columns"].items() if entry["config"]["meta"].get("audit_only")}
        assert tagged == audit_only


def test_the_marts_are_those_that_others_read_and_each_has_an_enforced_contract(models: list[dict[str, Any]]) -> None:
    marts = {model["name"]: model for model in models if model["fqn"][1] == "marts"}
    assert set(marts) == PUBLISHED
    for name, model in marts.items():
        assert model["contract"]["enforced"], name
        assert model["config"]["meta"]["order_by"], f"{name} has no order, so equal rows may give different bytes"
        undescribed = [column for column, entry in model["columns"].items() if not entry["description"]]
        assert undescribed == [], name


def test_every_model_is_named_owned_and_says_its_grain(models: list[dict[str, Any]]) -> None:
    for model in models:
        assert re.fullmatch(NAMES[model["fqn"][1]], model["name"]), model["name"]
        assert model["config"]["meta"].get("owner"), f"{model['name']} has no owner"
        last_sentence = re.split(r"(?<=\.)\s+", model["description"].strip())[-1]
        assert last_sentence.startswith("One row per "), f"{model['name']}: {last_sentence!r}"


def test_models_end_with_their_final_step_and_ask_no_clock(models: list[dict[str, Any]]) -> None:
    for model in models:
        assert model["raw_code"].rstrip().endswith("select * from final"), model["name"]
        assert not CLOCKS.search(model["raw_code"]), model["name"]


def test_a_staging_model_is_one_source_table(models: list[dict[str, Any]], dbt_manifest: dict[str, Any]) -> None:
    staging = [model for model in models if model["fqn"][1] == "staging"]
    assert len(staging) >= 5
    for model in staging:
        table = model["name"].removeprefix("stg_shop__")
        assert dbt_manifest["parent_map"][model["unique_id"]] == [f"source.shopwright.raw.{table}"]


def test_models_that_choose_or_count_money_have_a_unit_test_of_at_most_five_rows(
    models: list[dict[str, Any]], dbt_manifest: dict[str, Any]
) -> None:
    tests = list(dbt_manifest["unit_tests"].values())
    tested = {test["model"] for test in tests}
    needing = {model["name"] for model in models if NEEDS_UNIT_TEST.search(model["raw_code"])}
    assert len(needing) >= 8
    assert needing - tested == set()
    for test in tests:
        assert max(len(given["rows"] or []) for given in test["given"]) <= 5, test["name"]


def test_only_the_calendar_knows_the_target_day(models: list[dict[str, Any]], dbt_manifest: dict[str, Any]) -> None:
    clock = "source.shopwright.raw.clock"
    asking = {model["name"] for model in models if clock in dbt_manifest["parent_map"][model["unique_id"]]}
    assert asking == {"int_calendar__expanded", "feat_order_risk"}
    knowing = {model["name"] for model in models if "target_day" in model["raw_code"]}
    assert knowing == {"int_calendar__expanded"}  # the other asks for the shop's time zone
    assert not any("env_var" in model["raw_code"] for model in models)


def test_the_project_sends_nothing_home_and_needs_no_package() -> None:
    project = yaml.safe_load((DBT_PROJECT_DIR / "dbt_project.yml").read_text())
    assert project["flags"]["send_anonymous_usage_stats"] is False
    for name in ("packages.yml", "dependencies.yml"):
        assert not Path(DBT_PROJECT_DIR / name).exists()
