"""What the fraud model can be told. Frozen: a run is described by its config, its data and its seed."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class LabelConfig:
    """When a label counts.

    Attributes:
        mature_share: An order is mature once this share of the frauds of its age has become known.
        min_known_share: Younger orders, of whose frauds a smaller share is known, are not learnt from at all.
        min_frauds: With fewer known frauds the delay is not estimated: the prior stands.
        prior_maturity_days: The prior: half of the frauds are known after a third of these days, `mature_share` of
            them after all. Card schemes give the holder 120 days; most disputes come within two statements.
        longest_delay_days: Labels that come later are not waited for.
    """

    mature_share: float = 0.95
    min_known_share: float = 0.5
    min_frauds: int = 30
    prior_maturity_days: int = 60
    shortest_maturity_days: int = 1
    longest_delay_days: int = 120


@dataclass(frozen=True)
class SplitConfig:
    """Which days are learnt from and which decide.

    Attributes:
        test_days: Newest days of mature orders, by which champion and challenger are compared.
        min_test_days: A short history gives up test days down to this many.
        calibration_days: Newest days of those learnt from: trees are counted and probabilities calibrated on them.
        warm_up_days: First days of a shop's history, when everything is new to it, are left out.
        min_training_days: Fewer days to learn from are refused.
    """

    test_days: int = 42
    min_test_days: int = 7
    calibration_days: int = 42
    warm_up_days: int = 28
    min_training_days: int = 14


@dataclass(frozen=True)
class TreesConfig:
    """Parameters of the trees; chosen on days before the test days, docs/fraud_model.md says how.

    Attributes:
        trees: At most; the calibration days say how many.
        base_score: Where probabilities start; None: the share of frauds in training.
        line_share: Weight of the logistic regression that the trees' margins are mixed with.
        fraud_weight: Weight of a fraud over a legitimate order in training (`scale_pos_weight`).
        min_rows_per_thread: Fewer rows gain nothing from another thread, and lose a lot where cores are shared.
        max_rows: Legitimate orders are drawn, with weights, so that no more rows than these are trained on.
        max_missing_share: A row with a larger share of missing values is not scored, unless training knew such rows.
        implausible_factor: A value this many times beyond what training knew is not scored.
    """

    trees: int = 400
    patience: int = 40
    depth: int = 3
    learning_rate: float = 0.05
    min_child_weight: float = 4.0
    row_share: float = 0.8
    column_share: float = 0.3
    l2: float = 5.0
    max_bin: int = 1024
    base_score: float | None = 0.5
    line_share: float = 0.5
    fraud_weight: float = 1.0
    max_rows: int = 200_000
    min_calibration_frauds: int = 20
    threads: int = 2
    min_rows_per_thread: int = 60_000
    max_missing_share: float = 0.95
    implausible_factor: float = 1000.0


@dataclass(frozen=True)
class LogisticConfig:
    """Parameters of the logistic regression: a member of the model, and a baseline."""

    inverse_penalty: float = 0.1
    max_rows: int = 40_000
    max_iterations: int = 200


@dataclass(frozen=True)
class EvaluationConfig:
    """How a method is judged.

    Attributes:
        alert_budgets: Shares of the orders that are looked at, highest probability first.
        calibration_bins: Bins of equal numbers of orders.
        min_frauds: With fewer frauds among the judged nothing is said.
        max_weight: An order let through stands for at most this many that were declined.
    """

    alert_budgets: tuple[float, ...] = (0.005, 0.01, 0.02)
    calibration_bins: int = 20
    min_frauds: int = 20
    max_weight: float = 100.0
    draws: int = 1000


@dataclass(frozen=True)
class FraudConfig:
    """All of it.

    Attributes:
        sampled_rows: Scored rows kept of the reference that drift is judged by, and of each publication.
    """

    labels: LabelConfig = field(default_factory=LabelConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    trees: TreesConfig = field(default_factory=TreesConfig)
    logistic: LogisticConfig = field(default_factory=LogisticConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    sampled_rows: int = 20_000
    seed: int = 20171119

    def as_dict(self) -> dict[str, Any]:
        """All parameters as flat names (`trees.depth`), for manifests and MLflow."""
        flat: dict[str, Any] = {}
        for name, value in asdict(self).items():
            flat |= (
                {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
            )
        return flat
