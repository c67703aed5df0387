"""Pictures of a training for people: what the model looks at, whom it serves how well, how many trees it needs."""

from collections.abc import Mapping, Sequence

from ml.evaluation import pictures

_SHOWN_FEATURES = 20


def importance(gains: Mapping[str, float]) -> bytes:
    """Share of each feature in the model's total gain, as PNG.

    Args:
        gains: Total gain by feature.
    """
    return pictures.importance(gains, "What the ranker looks at", shown=_SHOWN_FEATURES, height=6)


def quality_by_slice(slices: Mapping[str, Mapping[str, float]]) -> bytes:
    """NDCG@10 of each customer group by method, as PNG.

    Args:
        slices: Method -> "attribute: group" -> NDCG@10.
    """
    names = sorted({name for values in slices.values() for name in values})
    figure, axes = pictures.new_figure(8, 1.5 + 0.25 * max(1, len(names)) * max(1, len(slices)))
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
    return pictures.as_png(figure)


def learning_curve(trees: Sequence[int], ndcg: Sequence[float], baseline: float) -> bytes:
    """NDCG@10 on the promotion weeks by number of trees, with the best baseline, as PNG."""
    figure, axes = pictures.new_figure(7, 4)
    axes.plot(trees, ndcg, marker="o", color="#3b6ea5", label="ranker")
    axes.axhline(baseline, color="#999999", linestyle="--", label="best baseline")
    axes.set_xlabel("trees")
    axes.set_ylabel("NDCG@10")
    axes.set_title("Learning curve on the promotion weeks")
    axes.legend()
    return pictures.as_png(figure)
