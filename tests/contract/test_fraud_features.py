"""The declaration of fraud features, the mart's contract and the models that count them say the same."""

from typing import Any

from ml.fraud.declaration import declaration
from tests.feature_marts import MART_PAGE, mart_schema

PAGE = MART_PAGE.parent / "_order_risk__models.yml"
FIXED = (
    "order_id",
    "attempted_at",
    "attempt_date",
    "amount_cents",
    "hour_of_day",
    "day_of_week",
    "account_age_days",
    "is_billing_shipping_same",
    "channel",
)


def test_the_marts_contract_has_every_declared_feature_in_order_and_no_other() -> None:
    counted = declaration().counted_features()
    assert len(counted) == len(set(counted)) > 100
    assert tuple(mart_schema("feat_order_risk", PAGE).names) == (*FIXED, *counted)


def test_each_entity_has_a_model_that_counts_it(dbt_manifest: dict[str, Any]) -> None:
    parents = dbt_manifest["parent_map"]["model.shopwright.feat_order_risk"]
    counting = {parent.split(".")[-1] for parent in parents if parent.endswith("__counted")}
    assert len(counting) == len(declaration().entities) + 2, "one per entity, one for sharing, one for pairs"


def test_entities_are_columns_of_an_orders_payment_that_are_no_measures(dbt_manifest: dict[str, Any]) -> None:
    columns = set(dbt_manifest["nodes"]["model.shopwright.fct_order_payments"]["columns"])
    assert set(declaration().entities.values()) <= columns - {"order_id", "amount_cents", "first_outcome"}
