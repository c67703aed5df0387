"""What the pictures of a training share: a figure that needs no screen, its bytes, the importance of features."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def importance(gains: Mapping[str, float], title: str, *, shown: int, height: float) -> bytes:
    """Share of each feature in a model's total gain, as PNG.

    Args:
        gains: Total gain by feature.
        shown: So many features at most, those with the largest gain.
        height: Of the picture, in inches.
    """
    figure, axes = new_figure(8, height)
    total = sum(gains.values()) or 1.0
    largest = sorted(gains.items(), key=lambda item: item[1])[-shown:]
    axes.barh([name for name, _ in largest], [gain / total for _, gain in largest], color="#3b6ea5")
    axes.set_xlabel("share of total gain")
    axes.set_title(title)
    return as_png(figure)


def new_figure(width: float, height: float) -> "tuple[Figure, Axes]":
    """An empty picture, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def as_png(figure: "Figure") -> bytes:
    """The picture's bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
