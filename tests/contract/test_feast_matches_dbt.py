"""One feature has one name and one type in the mart, in Feast and in the recommender; none is in only one of them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import yaml

from ml.recommender.features import (
    CUSTOMER_FEATURES,
    CUSTOMER_FEATURES_NOT_FED,
    CUSTOMER_SERVICE,
    PAIR_FEATURES,
    PRODUCT_FEATURES,
    PRODUCT_FEATURES_NOT_FED,
    PRODUCT_SERVICE,
)
from ml.settings import PROJECT_DIR, Settings
from ml.shop.contract import CONTRACT
from ml.shop.contract.table import Tag
from ml.stores.feast_repo import apply_if_changed, declared_features, features_dir, open_feature_store
from ml.stores.online_features import ONLINE_KEY, ONLINE_SERVICE, ONLINE_VIEW
from tests.feature_marts import MART_PAGE, mart_schema

if TYPE_CHECKING:
    from feast import FeatureStore

MARTS = {"feat_customer": "customer_id", "feat_product": "product_id"}
FEAST_TYPES = {"string": "String", "int64": "Int64", "double": "Float64", "bool": "Bool"}
NOT_FED = {CUSTOMER_SERVICE: CUSTOMER_FEATURES_NOT_FED, PRODUCT_SERVICE: PRODUCT_FEATURES_NOT_FED}


@pytest.fixture
def store(configure: Callable[..., Settings]) -> "FeatureStore":
    settings = configure()
    apply_if_changed(settings)
    return open_feature_store(settings, features_dir(settings))


def test_every_feature_mart_has_a_view_with_its_columns_in_order_and_their_types(store: "FeatureStore") -> None:
    declared = [model["name"] for model in yaml.safe_load(MART_PAGE.read_text())["models"]]
    assert sorted(declared) == sorted(MARTS) == sorted(view.name for view in store.list_feature_views())
    for mart, key in MARTS.items():
        schema = mart_schema(mart)
        assert schema.names[:3] == [key, "as_of_date", "feature_at"]
        view = store.get_feature_view(mart)
        assert {field.name: str(field.dtype) for field in view.features} == {
            field.name: FEAST_TYPES[str(field.type)] for field in list(schema)[3:]
        }
        assert [field.name for field in view.features] == schema.names[3:]
        assert [field.name for field in view.entity_columns] == [key]
        assert view.batch_source.path == mart
        assert view.batch_source.timestamp_field == "feature_at"


def test_views_have_an_owner_and_a_ttl_that_reaches_from_monday_to_monday(store: "FeatureStore") -> None:
    owners = {
        model["name"]: model["config"]["meta"]["owner"] for model in yaml.safe_load(MART_PAGE.read_text())["models"]
    }
    views = store.list_feature_views()
    assert {view.name: view.owner for view in views} == owners
    assert [view.ttl.days for view in views] == [8, 8]
    assert {view.name for view in views if view.online} == {ONLINE_VIEW}
    assert MARTS[ONLINE_VIEW] == ONLINE_KEY


def test_every_service_feature_is_fed_to_the_recommender_or_left_out_by_name(store: "FeatureStore") -> None:
    services = {service.name for service in store.list_feature_services()}
    fed = {CUSTOMER_SERVICE: set(CUSTOMER_FEATURES.values()), PRODUCT_SERVICE: set(PRODUCT_FEATURES.values())}
    assert services == set(fed) == {"recommender_customer", "recommender_product"}
    assert ONLINE_SERVICE == CUSTOMER_SERVICE
    for service, used in fed.items():
        assert used, f"nothing of {service} is used"
        assert used | NOT_FED[service] == set(declared_features(store, service))
        assert used & NOT_FED[service] == set()


def test_no_column_that_is_for_audits_only_is_a_feature(store: "FeatureStore") -> None:
    audit_only = {
        column.name for table in CONTRACT.values() for column in table.columns if Tag.AUDIT_ONLY in column.tags
    }
    assert "age_band" in audit_only
    features = {field.name for view in store.list_feature_views() for field in view.features}
    assert features & audit_only == set()
    assert set(PAIR_FEATURES) & audit_only == set()


def test_the_projects_name_and_the_state_are_the_shops_own(configure: Callable[..., Settings]) -> None:
    settings = configure(shop_id="bookshop")
    config = open_feature_store(settings, PROJECT_DIR).config
    assert config.project == "shopwright_bookshop"
    for path in (config.registry.path, config.online_store.path):
        assert str(path).startswith(str(settings.shop_dir))
