from collections.abc import Callable

import pytest

from ml.settings import Settings
from ml.stores.feature_versions import record_feature_versions
from ml.stores.operations import Operations, feature_versions
from ml.stores.versions import Version


@pytest.fixture
def operations(configure: Callable[..., Settings]) -> Operations:
    return Operations.from_settings(configure())


def marts(number: int, **fingerprints: str) -> Version:
    return Version(f"v{number:06d}-a", number, None, (), {"fingerprints": fingerprints})


def numbered(operations: Operations) -> list[tuple[str, int, str, str]]:
    return [
        (row["feature_mart"], row["number"], row["fingerprint"], row["marts_version"])
        for row in operations.rows(feature_versions)
    ]


def test_each_definition_gets_the_next_number_of_its_mart(operations: Operations) -> None:
    assert record_feature_versions(operations, marts(1, feat_customer="a", feat_product="x")) == {
        "feat_customer": 1,
        "feat_product": 1,
    }
    assert record_feature_versions(operations, marts(2, feat_customer="b", feat_product="x")) == {
        "feat_customer": 2,
        "feat_product": 1,
    }
    assert numbered(operations) == [
        ("feat_customer", 1, "a", "v000001-a"),
        ("feat_product", 1, "x", "v000001-a"),
        ("feat_customer", 2, "b", "v000002-a"),
    ]


def test_recording_again_changes_nothing(operations: Operations) -> None:
    record_feature_versions(operations, marts(1, feat_customer="a"))
    record_feature_versions(operations, marts(1, feat_customer="a"))
    assert len(numbered(operations)) == 1


def test_a_definition_that_comes_back_has_the_number_that_it_had(operations: Operations) -> None:
    for number, fingerprint in enumerate("aba", start=1):
        recorded = record_feature_versions(operations, marts(number, feat_customer=fingerprint))
    assert recorded == {"feat_customer": 1}
    assert [row[1] for row in numbered(operations)] == [1, 2]


def test_marts_without_fingerprints_have_no_feature_versions(operations: Operations) -> None:
    assert record_feature_versions(operations, Version("v000001-a", 1, None, (), {})) == {}
