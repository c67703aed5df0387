"""One customer's candidates with their features, as compact bytes: what the batch computed, and what a request ranks.

Features of products are not in it: they are the same for everybody and wait in memory (ml/recommender/snapshot.py).
Layout, little-endian, compressed with Zstandard behind a header of its length and CRC-32: number of candidates; their
product codes (int32), ascending; their sources (uint8); the customer's features (float32); then, one after the other,
each candidate feature of all candidates (float32).
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ml.outcomes import DataFailed
from ml.recommender.candidates import CANDIDATE_FEATURES, SOURCES
from ml.recommender.features import CUSTOMER_FEATURES, FEATURES, PAIR_FEATURES, PRODUCT_FEATURES
from ml.recommender.snapshot import Codes, Values

ROW_FEATURES = (*CANDIDATE_FEATURES, *PAIR_FEATURES)
"""Features of a candidate of a customer."""
ROW_LAYOUT = sha256("\n".join(["1", *SOURCES, *FEATURES]).encode()).hexdigest()[:16]
"""Says which code can read rows: it changes with the features, their order and the layout."""

_HEADER = struct.Struct("<II")  # length before compression, CRC-32 of what follows
_COUNT = struct.Struct("<I")
_CODEC = pa.Codec("zstd", compression_level=1)
_BYTES_A_CANDIDATE = 4 + 1 + 4 * len(ROW_FEATURES)
_LARGEST_ROW = 16 << 20  # bytes; a damaged header must not ask for all memory

assert (*ROW_FEATURES, *CUSTOMER_FEATURES, *PRODUCT_FEATURES) == FEATURES, "the order in which rows are put together"


@dataclass(frozen=True)
class CustomerRow:
    """A decoded row.

    Attributes:
        products: Product codes, ascending.
        sources: Places in `SOURCES`.
        customer: The customer's features, in the order of `CUSTOMER_FEATURES`.
        pairs: `ROW_FEATURES` x candidates.
    """

    products: Codes
    sources: npt.NDArray[np.uint8]
    customer: Values
    pairs: Values

    def inputs(self, places: npt.NDArray[np.intp], product_features: Values) -> Values:
        """Rows of the ranker's inputs, in the order of `FEATURES`.

        Args:
            places: Which candidates.
            product_features: Products x product features.
        """
        split = len(ROW_FEATURES), len(ROW_FEATURES) + len(self.customer)
        inputs = np.empty((len(places), len(FEATURES)), dtype=np.float32)
        inputs[:, : split[0]] = self.pairs.T[places]
        inputs[:, split[0] : split[1]] = self.customer
        inputs[:, split[1] :] = product_features[self.products[places]]
        return inputs


def encode_rows(scored: pd.DataFrame, products: pd.Index) -> Iterator[tuple[str, bytes]]:
    """Each customer's row.

    Args:
        scored: customer_id, product_id, source and `FEATURES`; a customer's rows one after the other.
        products: The catalogue; a product's place in it is its code.

    Raises:
        DataFailed: A feature is infinite, or a product is not in the catalogue.
    """
    if scored.empty:
        return
    pairs = scored[list(ROW_FEATURES)].to_numpy(np.float32)
    customer = scored[list(CUSTOMER_FEATURES)].to_numpy(np.float32)
    _refuse_infinite(pairs, ROW_FEATURES)
    _refuse_infinite(customer, tuple(CUSTOMER_FEATURES))
    codes = products.get_indexer(pd.Index(scored["product_id"])).astype(np.int32)
    if (codes < 0).any():
        raise DataFailed(f"customer rows: {int((codes < 0).sum())} candidates are not in the catalogue")
    sources = pd.Index(SOURCES).get_indexer(pd.Index(scored["source"])).astype(np.uint8)
    ids = scored["customer_id"].to_numpy()
    starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    for start, end in zip(starts, np.r_[starts[1:], len(ids)], strict=True):
        order = start + np.argsort(codes[start:end], kind="stable")
        yield str(ids[start]), _encode(codes[order], sources[order], customer[start], pairs[order])


def _refuse_infinite(values: Values, names: tuple[str, ...]) -> None:
    infinite = np.isinf(values).any(axis=0)
    if infinite.any():
        raise DataFailed(f"customer rows: not finite: {', '.join(np.asarray(names)[infinite])}")


def _encode(products: Codes, sources: npt.NDArray[np.uint8], customer: Values, pairs: Values) -> bytes:
    body = b"".join(
        (
            _COUNT.pack(len(products)),
            products.astype("<i4").tobytes(),
            sources.tobytes(),
            customer.astype("<f4").tobytes(),
            np.ascontiguousarray(pairs.T.astype("<f4")).tobytes(),
        )
    )
    packed: bytes = _CODEC.compress(body, asbytes=True)
    return _HEADER.pack(len(body), zlib.crc32(packed)) + packed


def decode_row(row: bytes) -> CustomerRow:
    """Read a row.

    Raises:
        DataFailed: The bytes are not a row as it was written.
    """
    if len(row) < _HEADER.size:
        raise DataFailed("customer row: cut short")
    length, checksum = _HEADER.unpack_from(row)
    packed = memoryview(row)[_HEADER.size :]
    if zlib.crc32(packed) != checksum or not _COUNT.size <= length <= _LARGEST_ROW:
        raise DataFailed("customer row: the bytes are not those that were written")
    try:
        body = _CODEC.decompress(packed, decompressed_size=length, asbytes=True)
    except (OSError, pa.ArrowException):
        raise DataFailed("customer row: cannot be unpacked") from None
    (count,) = _COUNT.unpack_from(body)
    if length != _COUNT.size + count * _BYTES_A_CANDIDATE + 4 * len(CUSTOMER_FEATURES):
        raise DataFailed("customer row: of another layout")
    at = _COUNT.size
    products = np.frombuffer(body, "<i4", count, at)
    sources = np.frombuffer(body, np.uint8, count, at := at + 4 * count)
    customer = np.frombuffer(body, "<f4", len(CUSTOMER_FEATURES), at := at + count)
    pairs = np.frombuffer(body, "<f4", count * len(ROW_FEATURES), at + 4 * len(CUSTOMER_FEATURES))
    return CustomerRow(products, sources, customer, pairs.reshape(len(ROW_FEATURES), count))
