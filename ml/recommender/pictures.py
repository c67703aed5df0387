"""Pictures of a training for people: what the model looks at, whom it serves how well, how many trees it needs."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN_FEATURES = 20


def importance(gains: Mapping[str, float]) -> bytes:
    """Share of each feature in the model's total gain, as PNG.

    Args:
        gains: Total gain by feature.
    """
    figure, axes = _figure(8, 6)
    total = sum(gains.values()) or 1.0
    largest = sorted(gains.items(), key=lambda item: item[1])[-_SHOWN_FEATURES:]
    axes.barh([name for name, _ in largest], [gain / total for _, gain in largest], color="#3b6ea5")
    axes.set_xlabel("share of total gain")
    axes.set_title("What the ranker looks at")
    return _png(figure)


def quality_by_slice(slices: Mapping[str, Mapping[str, float]]) -> bytes:
    """NDCG@10 of each customer group by method, as PNG.

    Args:
        slices: Method -> "attribute: group" -> NDCG@10.
    """
    names = sorted({name for values in slices.values() for name in values})
    figure, axes = _figure(8, 1.5 + 0.25 * max(1, len(names)) * max(1, len(slices)))
    height = 0.8 / max(1, len(slices))
    for place, (method, values) in enumerate(slices.items()):
        rows = [index + place * height for index in range(len(names))]
        axes.barh(rows, [values.get(name, 0.0) for name in names], height=height, label=method)
    axes.set_yticks([index + 0.4 - height / 2 for index in range(len(names))], names)
    axes.set_xlabel("NDCG@10")
    axes.margins(y=0.01)
    axes.set_title("Quality by customer group")
    if slices:
        axes.legend()
    return _png(figure)


def learning_curve(trees: Sequence[int], ndcg: Sequence[float], baseline: float) -> bytes:
    """NDCG@10 on the promotion weeks by number of trees, with the best baseline, as PNG."""
    figure, axes = _figure(7, 4)
    axes.plot(trees, ndcg, marker="o", color="#3b6ea5", label="ranker")
    axes.axhline(baseline, color="#999999", linestyle="--", label="best baseline")
    axes.set_xlabel("trees")
    axes.set_ylabel("NDCG@10")
    axes.set_title("Learning curve on the promotion weeks")
    axes.legend()
    return _png(figure)


def _figure(width: float, height: float) -> "tuple[Figure, Axes]":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
