"""The scaffold of a feature, on copies of the files that it changes."""

import shutil
from pathlib import Path

import click
import pytest
import yaml

from ml.cli.scaffold import NewFeature, write_feature
from ml.settings import PROJECT_DIR

FILES = (
    "dbt_project/models/marts/features/feat_customer.sql",
    "dbt_project/models/marts/features/feat_product.sql",
    "dbt_project/models/marts/features/_features__models.yml",
    "feature_repo/views/customer.py",
    "feature_repo/views/product.py",
    "ml/recommender/features.py",
)
NIGHTS = NewFeature(
    "count_weekend_orders_28d",
    "customer",
    "bigint",
    "Orders on a Saturday or Sunday: at any hour.",
    "count(*) filter (days_before <= 28)",
    "2",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT_DIR / name, tmp_path / name)
    return tmp_path


def texts(root: Path) -> dict[str, str]:
    return {name: (root / name).read_text() for name in FILES}


def test_a_feature_is_written_wherever_it_has_to_be(root: Path) -> None:
    before = texts(root)
    changed = write_feature(NIGHTS, root)
    after = texts(root)
    assert {path.relative_to(root).as_posix() for path in changed} == {
        name for name in FILES if before[name] != after[name]
    }
    assert "count(*) filter (days_before <= 28) as count_weekend_orders_28d\n    from days_before" in after[FILES[0]]
    page = yaml.safe_load(after[FILES[2]])
    mart = next(model for model in page["models"] if model["name"] == "feat_customer")
    assert mart["columns"][-1] == {
        "name": "count_weekend_orders_28d",
        "description": "Orders on a Saturday or Sunday: at any hour.",
        "data_type": "bigint",
    }
    test = page["unit_tests"][-1]
    assert test["expect"]["rows"] == [{"customer_id": "a", "count_weekend_orders_28d": 2}]
    sample = next(test for test in page["unit_tests"] if test["model"] == "feat_customer")
    assert [given["input"] for given in test["given"]] == [given["input"] for given in sample["given"]]
    assert 'Field(name="count_weekend_orders_28d", dtype=Int64),\n    ],' in after[FILES[3]]
    assert '"count_weekend_orders_28d",\n    }\n)\nPRODUCT_FEATURES_NOT_FED' in after[FILES[5]]


def test_a_fed_feature_of_a_new_type_is_imported_and_named(root: Path) -> None:
    write_feature(NewFeature("is_seasonal", "product", "boolean", "Whether.", "true", "true", fed=True), root)
    assert "from feast.types import Bool, Float64, Int64, String" in (root / FILES[4]).read_text()
    assert '    "product_is_seasonal": "is_seasonal",\n}' in (root / FILES[5]).read_text()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("CountOrders", "lower-case words"),
        ("count_orders_7d", "already"),
        ("share_by_age_band", "audits only"),
        ("x; drop table y", "lower-case words"),
    ],
)
def test_a_name_that_cannot_be_is_refused_and_nothing_is_written(root: Path, name: str, problem: str) -> None:
    before = texts(root)
    with pytest.raises(click.UsageError, match=problem):
        write_feature(NewFeature(name, "customer", "bigint", "Something."), root)
    assert texts(root) == before


def test_a_file_that_looks_different_is_left_alone_with_all_others(root: Path) -> None:
    (root / FILES[5]).write_text("CUSTOMER_FEATURES = {}\n")
    before = texts(root)
    with pytest.raises(click.UsageError, match=r"features\.py"):
        write_feature(NIGHTS, root)
    assert texts(root) == before
