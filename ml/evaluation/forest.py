"""Boosted trees as arrays: margins of few orders without XGBoost's overhead, and exact contributions from tables.

A leaf's share of the contributions (TreeSHAP with the path's covers) depends only on which of the splits on its path an
order follows. With paths of a few splits all cases fit into a table, so explaining an order is one look-up per leaf.
The sums are XGBoost's own: margins are added in the same order in float32.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost as xgb

Floats = npt.NDArray[np.float64]
Values = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]

MAX_DEPTH = 7
"""Deeper trees would need tables of more than 2^7 cases for each leaf."""
_ROWS_AT_ONCE = 64
_NO_CHILD = -1


@dataclass(frozen=True)
class Forest:
    """Trees over n features, of L leaves whose paths have at most D splits.

    Attributes:
        feature: Of each split, shape (splits,).
        threshold: Values below it go left.
        missing_left: Whether a missing value goes left.
        path: Split of each step of a leaf's path, shape (L, D).
        goes_left: Whether the path goes left there, shape (L, D).
        is_step: False where a path is shorter than D.
        tables: Contribution of each step's feature by which steps an order follows, shape (L * 2^D, D).
        step_feature: Feature that a step's contribution belongs to, flat, shape (L * D,).
        leaf: Margin that a leaf adds; leaves stand in the order of their trees.
        base: Margin before any tree.
        bias: Mean margin over the rows that the trees were grown on.
    """

    feature: Places
    threshold: Values
    missing_left: npt.NDArray[np.bool_]
    path: Places
    goes_left: npt.NDArray[np.bool_]
    is_step: npt.NDArray[np.bool_]
    tables: Floats
    step_feature: Places
    leaf: Values
    base: np.float32
    bias: float
    features: int
    trees: int

    def margins(self, values: Values) -> Values:
        """As XGBoost's `inplace_predict(..., predict_type="margin")`, shape (n,)."""
        return np.concatenate(
            [self._margins(self._followed(some)) for some in _chunks(values)] or [np.empty(0, np.float32)]
        )

    def shares(self, values: Values) -> Floats:
        """As XGBoost's `pred_contribs`, in double precision: rows x (features, then the bias)."""
        return self.explained(values)[1]

    def explained(self, values: Values) -> tuple[Values, Floats]:
        """Margins and shares, from one walk over the paths."""
        margins = np.empty(len(values), dtype=np.float32)
        shares = np.empty((len(values), self.features + 1))
        at = 0
        for some in _chunks(values):
            followed = self._followed(some)
            margins[at : at + len(some)] = self._margins(followed)
            self._share(followed, shares[at : at + len(some)])
            at += len(some)
        return margins, shares

    def _followed(self, values: Values) -> npt.NDArray[np.intp]:
        """Of each leaf, the steps of its path that a row follows, as bits. Shape (n, L)."""
        at_split = values.take(self.feature, axis=1)
        is_left = np.where(np.isnan(at_split), self.missing_left, at_split < self.threshold)
        follows = (is_left.take(self.path, axis=1) == self.goes_left) | ~self.is_step
        return np.asarray(follows @ _BITS[: self.path.shape[1]])

    def _margins(self, followed: npt.NDArray[np.intp]) -> Values:
        _, leaves = np.nonzero(followed == (1 << self.path.shape[1]) - 1)
        reached = self.leaf[leaves].reshape(-1, self.trees)
        begin = np.full((len(reached), 1), self.base, dtype=np.float32)
        return np.asarray(np.add.accumulate(np.hstack([begin, reached]), axis=1, dtype=np.float32)[:, -1])

    def _share(self, followed: npt.NDArray[np.intp], into: Floats) -> None:
        cases = followed + np.arange(len(self.leaf)) * (1 << self.path.shape[1])
        for row, case in enumerate(cases):
            weights = self.tables.take(case, axis=0).ravel()
            into[row, :-1] = np.bincount(self.step_feature, weights, minlength=self.features)
        into[:, -1] = self.bias


_BITS = 1 << np.arange(MAX_DEPTH, dtype=np.intp)


def _chunks(values: Values) -> list[Values]:
    return [values[start : start + _ROWS_AT_ONCE] for start in range(0, len(values), _ROWS_AT_ONCE)]


def forest_of(booster: xgb.Booster) -> Forest | None:
    """The trees of a booster as arrays.

    Returns:
        None where they are deeper than `MAX_DEPTH`, split by categories, or do not give XGBoost's own margins to the
        last bit: then XGBoost is asked.
    """
    forest = _read(booster)
    if forest is None:
        return None
    draw = np.random.default_rng(0)
    around = draw.choice(np.append(forest.threshold, np.float32(np.nan)), (_ROWS_AT_ONCE, forest.features))
    expected = booster.inplace_predict(around, predict_type="margin")
    return forest if np.array_equal(forest.margins(around), expected) else None


def _read(booster: xgb.Booster) -> Forest | None:
    learner = json.loads(bytes(booster.save_raw(raw_format="json")))["learner"]
    trees = learner["gradient_booster"].get("model", {}).get("trees", [])
    if not trees or any(len(tree["categories"]) for tree in trees):
        return None
    grown = [_Tree(tree) for tree in trees]
    depth = max(tree.depth for tree in grown)
    if depth > MAX_DEPTH or depth == 0:
        return None
    return _joined(grown, depth, _base(learner), int(learner["learner_model_param"]["num_feature"]))


def _base(learner: dict[str, Any]) -> np.float32:
    """Margin before any tree: XGBoost keeps what its objective makes of it, a probability for a logistic one."""
    start = json.loads(learner["learner_model_param"]["base_score"])
    base = np.float32(start[0] if isinstance(start, list) else start)
    if not learner["objective"]["name"].startswith("binary:logistic"):
        return base
    return np.float32(-np.log(np.float32(1.0) / base - np.float32(1.0)))  # as XGBoost does it, in float32


class _Tree:
    """One tree of XGBoost's JSON: its paths, each a list of (node, goes left)."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.left, self.right = raw["left_children"], raw["right_children"]
        self.feature, self.value = raw["split_indices"], raw["split_conditions"]
        self.missing_left, self.cover = raw["default_left"], raw["sum_hessian"]
        self.paths: list[tuple[int, list[tuple[int, bool]]]] = []
        self._walk(0, [])
        self.depth = max(len(path) for _, path in self.paths)

    def _walk(self, node: int, path: list[tuple[int, bool]]) -> None:
        if self.left[node] == _NO_CHILD:
            self.paths.append((node, path))
            return
        self._walk(self.left[node], [*path, (node, True)])
        self._walk(self.right[node], [*path, (node, False)])

    def mean(self) -> float:
        """Mean of the leaves, by cover."""
        return float(sum(self.value[leaf] * self._reach(path) for leaf, path in self.paths))

    def _reach(self, path: list[tuple[int, bool]]) -> float:
        return math.prod(self.zero_fraction(node, goes_left=left) for node, left in path)

    def zero_fraction(self, node: int, *, goes_left: bool) -> float:
        """The share of a node's rows that go this way, whatever their value."""
        return float(self.cover[(self.left if goes_left else self.right)[node]] / self.cover[node])


def _joined(trees: list[_Tree], depth: int, base: np.float32, features: int) -> Forest:
    leaves = sum(len(tree.paths) for tree in trees)
    path, goes_left = np.zeros((leaves, depth), np.intp), np.zeros((leaves, depth), np.bool_)
    is_step, step_feature = np.zeros((leaves, depth), np.bool_), np.zeros((leaves, depth), np.intp)
    fraction, leaf_value = np.ones((leaves, depth)), np.zeros(leaves, np.float32)
    feature: list[int] = []
    threshold: list[float] = []
    missing_left: list[bool] = []
    at = 0
    for tree in trees:
        splits = {node: len(feature) + number for number, node in enumerate(_splits(tree))}
        feature += [tree.feature[node] for node in splits]
        threshold += [tree.value[node] for node in splits]
        missing_left += [bool(tree.missing_left[node]) for node in splits]
        for leaf, steps in tree.paths:
            leaf_value[at] = tree.value[leaf]
            for step, (node, left) in enumerate(steps):
                path[at, step], goes_left[at, step] = splits[node], left
                is_step[at, step], step_feature[at, step] = True, tree.feature[node]
                fraction[at, step] = tree.zero_fraction(node, goes_left=left)
            at += 1
    tables = _tables(np.where(is_step, step_feature, _NO_CHILD), fraction, leaf_value)
    return Forest(
        np.array(feature, np.intp), np.array(threshold, np.float32), np.array(missing_left, np.bool_),
        path, goes_left, is_step, tables.reshape(-1, depth), step_feature.ravel(), leaf_value,
        base, float(base) + math.fsum(tree.mean() for tree in trees), features, len(trees),
    )  # fmt: skip


def _splits(tree: _Tree) -> list[int]:
    return [node for node, left in enumerate(tree.left) if left != _NO_CHILD]


def _tables(features: Places, fraction: Floats, leaf: Values) -> Floats:
    """Contributions of each leaf's steps in each case, shape (L, 2^D, D); a feature's stand at its first step.

    The Shapley value of the game in which a set of features known is worth the leaf's value times the shares of the
    unknown features' rows, where an order follows all known ones, and nothing where it does not. Later steps of the
    same feature, and steps that a short path does not have, are players that change nothing, and get nothing.

    Args:
        features: Feature of each step, -1 for none, shape (L, D).
        fraction: Share of a node's rows that go the path's way, shape (L, D).
    """
    count, depth = features.shape
    cases = np.arange(1 << depth)
    follows = ((cases[:, None] >> np.arange(depth)) & 1).astype(np.bool_)  # (2^D, D)
    known, unknown = np.ones((count, len(cases), depth)), np.ones((count, depth))
    for first in range(depth):
        is_first = (features[:, first] >= 0) & ~(features[:, :first] == features[:, [first]]).any(axis=1)
        same = features == features[:, [first]]  # (L, D), the step itself among them
        unknown[:, first] = np.where(is_first, np.where(same, fraction, 1.0).prod(axis=1), 1.0)
        all_follow = (follows[None, :, :] | ~same[:, None, :]).all(axis=2)
        known[:, :, first] = np.where(is_first[:, None], all_follow, 1.0)
    tables = np.zeros((count, len(cases), depth))
    for player in range(depth):
        others = [step for step in range(depth) if step != player]
        worth = np.zeros((count, len(cases)))
        for chosen in range(1 << len(others)):
            product = np.ones((count, len(cases)))
            for place, other in enumerate(others):
                product *= known[:, :, other] if chosen >> place & 1 else unknown[:, [other]]
            worth += product / (depth * math.comb(depth - 1, chosen.bit_count()))
        tables[:, :, player] = worth * (known[:, :, player] - unknown[:, [player]]) * leaf[:, None].astype(np.float64)
    return tables
