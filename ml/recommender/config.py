"""What the recommender can be told. Frozen: a run is described by its config, its data and its seed."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class HistoryConfig:
    """How a history is read.

    Attributes:
        catalogue_min_purchases: A product is recommended once it was bought this often (customer-days).
        popularity_days: Window of "lately".
    """

    catalogue_min_purchases: int = 10
    popularity_days: int = 28


@dataclass(frozen=True)
class CandidateConfig:
    """How many products each source may propose for a customer, 235 in all.

    Attributes:
        together_days: Window of the baskets that say what is bought together.
        together_neighbours: Companions kept for each product.
        together_min_baskets: Fewer shared baskets than this say nothing.
        together_max_basket: Larger baskets say little and cost the square of their size.
    """

    own_purchases: int = 165
    bought_together: int = 30
    popular_in_store: int = 20
    popular: int = 20
    together_days: int = 91
    together_neighbours: int = 50
    together_min_baskets: int = 3
    together_max_basket: int = 100


@dataclass(frozen=True)
class BaselineConfig:
    """Parameters of the baselines.

    Attributes:
        recency_decay: Weight lost with every trip since.
        tifu_group_trips: Trips in one group of TIFU-KNN (Hu et al., SIGIR 2020); decays are within and between groups.
        tifu_own_share: Weight of the customer's own vector against the mean of the neighbours'.
    """

    recency_decay: float = 0.95
    tifu_group_trips: int = 2
    tifu_within_decay: float = 0.95
    tifu_group_decay: float = 0.9
    tifu_neighbours: int = 300
    tifu_own_share: float = 0.9


@dataclass(frozen=True)
class RankerConfig:
    """Parameters of the ranker; chosen on label cuts up to 2017-11-13 of The Complete Journey.

    Attributes:
        trees: Kept small: ten rows must be explained exactly in at most 3 ms on one thread.
        negatives_per_customer: Candidates without a purchase kept per customer and cut in training.
        max_missing_share: A row with a larger share of missing values is not scored.
    """

    trees: int = 120
    depth: int = 4
    learning_rate: float = 0.1
    min_child_weight: float = 5.0
    row_share: float = 0.8
    column_share: float = 0.6
    l2: float = 2.0
    pairs_per_item: int = 20
    max_bin: int = 256
    negatives_per_customer: int = 40
    threads: int = 2
    max_missing_share: float = 0.9


@dataclass(frozen=True)
class SplitConfig:
    """Which Mondays are learnt from and which decide.

    Attributes:
        training_cuts: Label weeks learnt from, at most.
        promotion_cuts: Newest label weeks, on which champion and challenger are compared.
        min_history_days: A cut with less history before it is not used.
        min_trips: A customer with fewer shopping days before a cut is not evaluated.
    """

    training_cuts: int = 9
    promotion_cuts: int = 2
    min_history_days: int = 14
    min_trips: int = 5


@dataclass(frozen=True)
class RecommenderConfig:
    """All of it.

    Attributes:
        shown: Recommendations published per customer.
        reference_customers: Customers drawn at each training cut for the reference that drift is judged by.
        sampled_rows: Scored rows kept of a reference and of each publication.
    """

    history: HistoryConfig = field(default_factory=HistoryConfig)
    candidates: CandidateConfig = field(default_factory=CandidateConfig)
    baselines: BaselineConfig = field(default_factory=BaselineConfig)
    ranker: RankerConfig = field(default_factory=RankerConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    shown: int = 10
    reference_customers: int = 150
    sampled_rows: int = 20_000
    seed: int = 20171119

    def as_dict(self) -> dict[str, Any]:
        """All parameters as flat names (`ranker.trees`), for manifests and MLflow."""
        flat: dict[str, Any] = {}
        for name, value in asdict(self).items():
            flat |= (
                {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
            )
        return flat
