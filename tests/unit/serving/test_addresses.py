"""Which operation answers at an address."""

import pytest

from ml.serving.addresses import Addresses
from ml.serving.errors import Refusal
from ml.serving.operations import Call, Operation
from ml.serving.requests import Answer
from ml.serving.routes import OPERATIONS


async def answer(_call: Call) -> Answer:
    return Answer({})


def operation(name: str, method: str, path: str) -> Operation:
    return Operation(name, method, path, None, name, answer, None)


@pytest.fixture
def addresses() -> Addresses:
    return Addresses(
        [
            operation("all", "GET", "/cases"),
            operation("one", "GET", "/cases/{case_id}"),
            operation("claim", "POST", "/cases/{case_id}/claim"),
            operation("several", "POST", "/cases/batch"),
        ]
    )


@pytest.mark.parametrize(
    ("method", "path", "name", "parameters"),
    [
        ("GET", "/cases", "all", {}),
        ("GET", "/cases/c1", "one", {"case_id": "c1"}),
        ("GET", "/cases/a b.c", "one", {"case_id": "a b.c"}),
        ("POST", "/cases/c1/claim", "claim", {"case_id": "c1"}),
        ("POST", "/cases/batch", "several", {}),
    ],
)
def test_an_address_names_its_operation(addresses, method, path, name, parameters):
    found, given = addresses.find(method, path)
    assert (found.name, given) == (name, parameters)


@pytest.mark.parametrize(
    "path", ["/", "/cases/", "/cases/c1/", "/cases/c1/claim/x", "/cases/c1\n/x", "/xcases", "cases"]
)
def test_other_addresses_name_none(addresses, path):
    with pytest.raises(Refusal) as refused:
        addresses.find("GET", path)
    assert (refused.value.status, refused.value.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", "/cases", "GET"), ("GET", "/cases/batch", "POST"), ("GET", "/cases/c1/claim", "POST")],
)
def test_another_method_is_told_which_ones_there_are(addresses, method, path, allowed):
    with pytest.raises(Refusal) as refused:
        addresses.find(method, path)
    assert (refused.value.status, refused.value.headers) == (405, {"Allow": allowed})


def test_every_operation_of_the_api_has_its_own_address():
    addresses = Addresses(OPERATIONS)
    for one in OPERATIONS:
        path = one.path.replace("{", "").replace("}", "")
        assert addresses.find(one.method, path)[0] is one
    assert len(OPERATIONS) > 10
