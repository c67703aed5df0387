"""Recommendations: for whom and what, and what to show."""

from typing import Annotated, Literal

from pydantic import Field

from ml.serving.bodies import StrictBody
from ml.serving.models.fields import Id, Told

MOST_RECOMMENDATIONS, MOST_PRODUCTS, MOST_EXCLUDED = 50, 50, 100
PLACEMENT = r"^[a-z][a-z0-9_-]{0,39}$"


# What is asked


class RecommendationQuery(StrictBody):
    """What is wanted for a customer."""

    placement: Annotated[str, Field(pattern=PLACEMENT)] = "home"
    k: Annotated[int, Field(ge=1, le=MOST_PRODUCTS)] = 10
    exclude: Annotated[list[Id], Field(max_length=MOST_EXCLUDED)] = Field(default_factory=list)
    category: Id | None = None
    store_id: Id | None = None


class WantedRecommendation(RecommendationQuery):
    """The same, and for whom."""

    customer_id: Id


class WantedRecommendations(StrictBody):
    """Several at once."""

    requests: Annotated[list[WantedRecommendation], Field(min_length=1, max_length=MOST_RECOMMENDATIONS)]


# What is told


class Item(Told):
    """A product to show."""

    product_id: str
    rank: int
    reason: str | None


class Recommendation(Told):
    """What to show, and by which step of the ladder it was found; without `exposure_id` when it was not recorded."""

    exposure_id: str | None
    customer_id: str | None = None
    placement: str
    step: Literal["personal", "batch", "segment", "popular", "static"]
    degraded: bool
    profiling: bool
    reason: str | None
    items: list[Item]
    model_version: str | None
    feature_version: str | None
    policy_version: str
    as_of_date: str | None
    features_age_seconds: float | None
    k: int


class Recommendations(Told):
    """In the order of the requests."""

    recommendations: list[Recommendation]
