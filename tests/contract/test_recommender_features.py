"""What the ranker asks of the feature marts exists there, is a number, and descends from no audit-only column."""

import pyarrow as pa
import pytest

from ml.recommender.features import CUSTOMER_FEATURES, FEATURES, PRODUCT_FEATURES
from ml.shop.contract import CONTRACT
from ml.shop.contract.table import Tag
from tests.feature_marts import mart_schema


@pytest.mark.parametrize(("mart", "used"), [("feat_customer", CUSTOMER_FEATURES), ("feat_product", PRODUCT_FEATURES)])
def test_the_ranker_uses_columns_of_the_feature_mart_that_are_numbers(mart: str, used: dict[str, str]) -> None:
    schema = mart_schema(mart)
    types = {column: schema.field(column).type for column in used.values()}
    assert types
    assert [
        column for column, type_ in types.items() if not (pa.types.is_integer(type_) or pa.types.is_floating(type_))
    ] == []


def test_each_feature_has_one_name() -> None:
    assert len(FEATURES) == len(set(FEATURES)) > 40


def test_no_feature_is_named_for_an_audit_only_column() -> None:
    audited = {column.name for table in CONTRACT.values() for column in table.columns if Tag.AUDIT_ONLY in column.tags}
    assert "age_band" in audited
    assert [name for name in FEATURES if any(column in name for column in audited)] == []
