"""Random draws that belong to a key, not to a sequence: the same key gives the same draw in any order of loading."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

_MASK_53 = 2.0**-53


def keys_of(values: Sequence[str]) -> np.ndarray:
    """One uint64 per text."""
    digests = [blake2b(value.encode(), digest_size=8).digest() for value in values]
    return np.frombuffer(b"".join(digests), dtype=np.uint64).copy()


def mixed(keys: np.ndarray, stream: str, seed: int) -> np.ndarray:
    """One uint64 per key, differing by stream and seed (the finalizer of SplitMix64, Steele et al. 2014)."""
    salt = np.uint64(int.from_bytes(blake2b(f"{seed}/{stream}".encode(), digest_size=8).digest(), "little"))
    with np.errstate(over="ignore"):
        state = (keys.astype(np.uint64) ^ salt) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(state ^ (state >> np.uint64(31)), dtype=np.uint64)


def uniforms(keys: np.ndarray, stream: str, seed: int) -> np.ndarray:
    """One number in [0, 1) per key."""
    return np.asarray((mixed(keys, stream, seed) >> np.uint64(11)).astype(np.float64) * _MASK_53)


def chosen(draws: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """The position in `weights` that each draw in [0, 1) falls on; the weights need not add up to 1."""
    bounds = np.cumsum(np.asarray(weights, dtype=np.float64))
    return np.minimum(np.searchsorted(bounds / bounds[-1], draws, side="right"), len(bounds) - 1)
