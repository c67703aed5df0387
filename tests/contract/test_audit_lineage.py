"""Nothing below an audit-only column reaches a feature or a training set, and the walk would notice if it did."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ml.settings import PROJECT_DIR, Settings
from ml.shop.contract import CONTRACT
from ml.shop.contract.table import Tag
from ml.stores.feast_repo import apply_if_changed, features_dir, open_feature_store
from ml.stores.fingerprints import upstream
from tests.dbt_projects import copy_project, parse_project

# What computes training sets and scores beside the feature services.
TRAINING_CODE = (PROJECT_DIR / "ml" / "recommender", PROJECT_DIR / "feature_repo" / "pairs")
AUDIT_ONLY_COLUMNS = {
    column.name for table in CONTRACT.values() for column in table.columns if Tag.AUDIT_ONLY in column.tags
}
FEATURE_ON_AUDIT_DATA = """
select
    customers.customer_id,
    demographics.band as number_of_band
from {{ ref('dim_customers') }} as customers
left join {{ ref('int_bands__renamed') }} as demographics on customers.customer_id = demographics.customer_id
"""
RENAMED = "select customer_id, length(age_band) as band from {{ source('raw', 'demographics') }}"
CONTRACT_OF_FEATURE = """
models:
  - name: feat_planted
    columns:
      - {name: customer_id, data_type: varchar}
      - {name: number_of_band, data_type: bigint}
"""


def is_audit_only(node: Mapping[str, Any]) -> bool:
    return any(column["config"]["meta"].get("audit_only") for column in node["columns"].values())


def below_audit_only(manifest: Mapping[str, Any]) -> set[str]:
    """Names of the models that have an audit-only column, or are built from a table or model that has one."""
    tagged = [
        unique_id
        for unique_id, node in {**manifest["nodes"], **manifest["sources"]}.items()
        if node["resource_type"] in ("model", "source") and is_audit_only(node)
    ]
    found: set[str] = set()
    while tagged:
        unique_id = tagged.pop()
        if unique_id not in found:
            found.add(unique_id)
            tagged += [child for child in manifest["child_map"][unique_id] if child.startswith("model.")]
    return {unique_id.split(".")[-1] for unique_id in found if unique_id.startswith("model.")}


def features_of(manifest: Mapping[str, Any]) -> set[str]:
    return {
        node["name"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["fqn"][1:3] == ["marts", "features"]
    }


def words_of(folders: Iterable[Path]) -> set[str]:
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".sql")]
    assert len(files) > 5
    return {word for path in files for word in re.findall(r"\w+", path.read_text())}


def test_demographics_are_seen_as_audit_only_from_the_source_on(dbt_manifest: dict[str, Any]) -> None:
    assert is_audit_only(dbt_manifest["sources"]["source.shopwright.raw.demographics"])
    assert below_audit_only(dbt_manifest) == {
        "stg_shop__demographics",
        "audit_demographics",
        "fct_row_conservation",  # counts the rows of every table, and is read by no model
    }


def test_no_feature_is_built_from_audit_only_data(dbt_manifest: dict[str, Any]) -> None:
    assert features_of(dbt_manifest) >= {"feat_customer", "feat_product"}
    assert features_of(dbt_manifest) & below_audit_only(dbt_manifest) == set()


def test_no_feature_service_reads_a_mart_with_audit_only_data(
    dbt_manifest: dict[str, Any], configure: Callable[..., Settings]
) -> None:
    settings = configure()
    apply_if_changed(settings)
    store = open_feature_store(settings, features_dir(settings))
    read = {
        store.get_feature_view(view.name).batch_source.path
        for service in store.list_feature_services()
        for view in service.feature_view_projections
    }
    assert read >= {"feat_customer", "feat_product"}
    assert read <= features_of(dbt_manifest), "a service reads what is not a feature mart"
    assert read & below_audit_only(dbt_manifest) == set()


def test_training_code_names_neither_audit_only_marts_nor_their_columns(dbt_manifest: dict[str, Any]) -> None:
    words = words_of(TRAINING_CODE)
    assert "fct_order_lines" in words
    assert words & (below_audit_only(dbt_manifest) | AUDIT_ONLY_COLUMNS) == set()


def test_a_feature_planted_two_steps_below_renamed_audit_only_data_is_found(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    (project / "models" / "intermediate" / "int_bands__renamed.sql").write_text(RENAMED)
    (project / "models" / "marts" / "features" / "feat_planted.sql").write_text(FEATURE_ON_AUDIT_DATA)
    (project / "models" / "marts" / "features" / "_planted.yml").write_text(CONTRACT_OF_FEATURE)
    manifest = parse_project(project, tmp_path / "artifacts")
    assert features_of(manifest) & below_audit_only(manifest) == {"feat_planted"}


def test_no_mart_reads_what_the_shop_contract_does_not_hold(dbt_manifest: dict[str, Any]) -> None:
    """The scenario behind a simulated order is no column of the contract, and dbt reads nothing but the contract."""
    known = {column.name for table in CONTRACT.values() for column in table.columns}
    assert {"is_fraud", "attempted_at"} <= known
    assert known & {"scenario", "is_attack_visible", "truth"} == set()
    read = {
        parent
        for name in ("feat_order_risk", "fct_order_payments", "fct_fraud_labels", "fct_fraud_decisions")
        for parent in upstream(dbt_manifest, f"model.shopwright.{name}")
        if parent.startswith("source.")
    }
    tables = {parent.split(".")[-1] for parent in read}
    assert {"payments", "chargebacks"} <= tables
    assert tables <= {*CONTRACT, "clock"}


def test_no_feature_of_orders_is_built_from_decisions_on_orders(dbt_manifest: dict[str, Any]) -> None:
    """What was decided about earlier orders is the policy's doing, not the shop's past."""
    read = upstream(dbt_manifest, "model.shopwright.feat_order_risk")
    assert "source.shopwright.raw.payments" in read
    assert not {f"source.shopwright.raw.{table}" for table in ("fraud_decisions", "demographics")} & read
