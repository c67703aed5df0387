"""Pounds become whole pence by decimal arithmetic."""

from decimal import Decimal

import pyarrow as pa
import pytest

from ml.shop.exact_numbers import NumberForm, product_of
from ml.shop.mapped_files import as_text

PENCE = NumberForm(factor=Decimal(100))
COMMA = NumberForm(decimal=",", thousands=".", factor=Decimal(100))


def one(form: NumberForm, *texts: str | None) -> str | None:
    [found] = product_of([pa.chunked_array([pa.array([text], pa.string())]) for text in texts], form).to_pylist()
    return found


@pytest.mark.parametrize(
    ("pounds", "pence"),
    [
        ("2.55", "255"),
        ("1.005", "101"),
        ("1.0049999", "100"),
        ("0.30000000000000004", "30"),
        ("-1.005", "-101"),
        ("1e-2", "1"),
        ("79228162514264337593543950336.01", "7922816251426433759354395033601"),
        (" 2.55 ", "255"),
        (".5", "50"),
    ],
)
def test_pounds_become_pence_half_up(pounds: str, pence: str) -> None:
    assert one(PENCE, pounds) == pence


@pytest.mark.parametrize("number", [1.005, 0.1 + 0.2, 2.675, 1e-2])
def test_a_binary_fraction_counts_as_its_shortest_decimal(number: float) -> None:
    text = as_text(pa.chunked_array([[number]])).to_pylist()[0]
    assert one(PENCE, text) == {1.005: "101", 0.1 + 0.2: "30", 2.675: "268", 1e-2: "1"}[number]


def test_the_product_is_rounded_once() -> None:
    assert one(PENCE, "3", "0.335") == "101"
    assert one(PENCE, "12", "0.335", "0.5") == "201"


def test_what_is_empty_or_no_number_is_handed_on() -> None:
    assert one(PENCE, None, "2") is None
    assert one(PENCE, "2", "abc") == "abc"
    assert one(PENCE, "nan") == "nan"
    assert one(PENCE, "1,5") == "1,5"


@pytest.mark.parametrize(
    ("written", "cents"),
    [("1.234,56", "123456"), ("3,5", "350"), ("1234,5", "123450"), ("1.5", "1.5"), ("12.34,5", "12.34,5")],
)
def test_a_comma_may_stand_before_the_fraction(written: str, cents: str) -> None:
    assert one(COMMA, written) == cents


def test_a_number_that_need_not_be_whole_is_not_rounded() -> None:
    assert one(NumberForm(decimal=",", is_whole=False), "2,750") == "2.75"
