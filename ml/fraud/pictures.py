"""Pictures of a training for people: what the model looks at, whether its probabilities are true, what it finds."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ml.evaluation import pictures

if TYPE_CHECKING:
    from ml.fraud.evaluate import JudgedFraud

_SHOWN_FEATURES = 25


def reliability_curve(judged: "Mapping[str, JudgedFraud]") -> bytes:
    """Share of frauds over mean probability by method, as PNG; on the diagonal a probability is true."""
    figure, axes = pictures.new_figure(6, 5)
    largest, smallest = 1e-3, 1.0
    for name, one in judged.items():
        bins = one.reliability()
        shown = (bins.predicted > 0) & (bins.observed > 0)
        axes.plot(bins.predicted[shown], bins.observed[shown], marker="o", label=f"{name} (error {bins.error():.4f})")
        if shown.any():
            largest = max(largest, float(bins.predicted[shown].max()), float(bins.observed[shown].max()))
            smallest = min(smallest, float(bins.predicted[shown].min()), float(bins.observed[shown].min()))
    axes.plot([smallest, largest], [smallest, largest], color="#999999", linestyle="--")
    # Frauds are rare: on a straight scale all bins but one would lie on one point.
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("probability of fraud")
    axes.set_ylabel("share of frauds")
    axes.set_title("Reliability on the test days")
    axes.legend()
    return pictures.as_png(figure)


def precision_recall_curve(judged: "Mapping[str, JudgedFraud]") -> bytes:
    """Precision over recall by method, as PNG."""
    figure, axes = pictures.new_figure(6, 5)
    for name, one in judged.items():
        recall, precision = one.precision_recall()
        value = one.summary()["average_precision"]
        axes.plot(recall, precision, drawstyle="steps-post", label=f"{name} ({value:.3f})")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("share of the frauds found")
    axes.set_ylabel("share of the alerts that are fraud")
    axes.set_title("Precision and recall on the test days")
    axes.legend()
    return pictures.as_png(figure)


def importance(gains: Mapping[str, float]) -> bytes:
    """Share of each feature in the model's total gain, as PNG.

    Args:
        gains: Total gain by feature.
    """
    return pictures.importance(gains, "What the model of fraud looks at", shown=_SHOWN_FEATURES, height=7)
