"""Numbers out of text, exactly: decimal arithmetic, never binary fractions.

A shop's 1.005 pounds are 100.5 pence and become 101 (half up), though the nearest binary fraction lies below. A
number that came as a binary fraction counts as the shortest decimal that means the same one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?")
_EXACT = Context(prec=120)
_WHOLE = Decimal(1)


@dataclass(frozen=True)
class NumberForm:
    """How a shop writes its numbers, and the unit that they are brought to.

    Attributes:
        decimal: Sign before the fraction.
        thousands: Sign between groups of digits; empty for none.
        factor: What the product of the columns is multiplied by: 100 for pounds that become pence.
        is_whole: Rounded half up to a whole number.
    """

    decimal: str = "."
    thousands: str = ""
    factor: Decimal = _WHOLE
    is_whole: bool = True


def product_of(columns: Sequence[pa.ChunkedArray], form: NumberForm) -> pa.ChunkedArray:
    """The product of text columns row by row, as text.

    Where a column is empty the product is empty; where one cannot be read as a number, it is that column's text.
    """
    encoded = [pc.dictionary_encode(column).combine_chunks() for column in columns]
    combined = np.zeros(len(columns[0]), dtype=np.int64)
    for each in encoded:
        # An empty field gets the code after the last one.
        codes = pc.fill_null(each.indices.cast(pa.int64()), len(each.dictionary)).to_numpy(zero_copy_only=False)
        combined = combined * (len(each.dictionary) + 1) + codes
    distinct, place = np.unique(combined, return_inverse=True)
    texts = [[*each.dictionary.to_pylist(), None] for each in encoded]
    products = pa.array([_product(_texts_of(int(code), texts), form) for code in distinct], pa.string())
    return pa.chunked_array([products.take(pa.array(place))])


def _texts_of(code: int, texts: Sequence[list[str | None]]) -> list[str | None]:
    found = []
    for values in reversed(texts):
        code, position = divmod(code, len(values))
        found.append(values[position])
    return found[::-1]


def _product(texts: Sequence[str | None], form: NumberForm) -> str | None:
    total = form.factor
    if None in texts:
        return None
    for text in texts:
        assert text is not None
        number = _number(text, form)
        if number is None:
            return text
        total = _EXACT.multiply(total, number)
    if not form.is_whole:
        return format(total.normalize(_EXACT), "f")
    try:
        return format(total.quantize(_WHOLE, ROUND_HALF_UP, _EXACT), "f")
    except InvalidOperation:  # more digits than any amount has
        return texts[0]


def _number(text: str, form: NumberForm) -> Decimal | None:
    plain = text.strip()
    if form.thousands and form.thousands in plain:
        digits = plain.split(form.decimal, 1)[0].lstrip("+-").split(form.thousands)
        if len(digits[0]) > 3 or any(len(group) != 3 for group in digits[1:]):
            return None  # 1.5 where 1.500,00 is how the shop writes
        plain = plain.replace(form.thousands, "")
    if form.decimal != ".":
        if "." in plain:
            return None
        plain = plain.replace(form.decimal, ".")
    return Decimal(plain) if _NUMBER.fullmatch(plain) else None
