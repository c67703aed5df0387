"""What a request for recommendations is answered, and the entry of the log that tells what was shown and why."""

import json
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from ml.recommender.online import Offer, Step
from ml.serving.events import digest_of
from ml.serving.recommender_parts import RecommenderParts
from ml.stores.serving_log import Entry


@dataclass(frozen=True)
class RecommendationRequest:
    """What is asked for.

    Attributes:
        placement: Where it is shown, in the shop's own words.
        k: Products, 1 to 50.
        exclude: Product ids that must not be shown.
        category: Only products of this category.
        store_id: The store that the visitor looks at, where there are several.
    """

    customer_id: str
    placement: str
    k: int
    exclude: tuple[str, ...] = ()
    category: str | None = None
    store_id: str | None = None


@dataclass(frozen=True)
class Chosen:
    """What a request is answered with.

    Attributes:
        degraded: A better step should have answered.
        profiling: The customer has not objected to it, as far as could be read.
        reason: Why this step, in one word; None for a customer's normal answer.
        age: Seconds of what the step used; None where it used nothing that ages.
    """

    offer: Offer
    step: Step
    degraded: bool
    profiling: bool
    reason: str | None
    age: float | None


def exposure(
    request: RecommendationRequest,
    chosen: Chosen,
    parts: RecommenderParts | None,
    policy_version: str,
    shown_at: datetime,
) -> tuple[dict[str, Any], Entry]:
    """The answer, and its entry.

    Returns:
        The answer as it is sent; the entry also has the customer, the moment, and each item's propensity.
    """
    exposure_id = f"exposure-{uuid.uuid4().hex}"
    versions: dict[str, str | None] = dict.fromkeys(("model_version", "feature_version", "as_of_date"))
    if parts is not None and chosen.step != "static":
        by_step = {"personal": parts.model_version, "batch": parts.list_version}
        versions = {
            "model_version": by_step.get(chosen.step),
            "feature_version": parts.feature_version,
            "as_of_date": parts.as_of_date.isoformat() if parts.as_of_date else None,
        }
    told = {
        "exposure_id": exposure_id,
        "placement": request.placement,
        "step": chosen.step,
        "degraded": chosen.degraded,
        "profiling": chosen.profiling,
        "reason": chosen.reason,
        **versions,
        "policy_version": policy_version,
        "features_age_seconds": chosen.age,
        "k": request.k,
    }
    answer = {
        **told,
        "items": [
            {"product_id": item.product_id, "rank": item.rank, "reason": item.reason} for item in chosen.offer.items
        ],
    }
    kept = {
        **told,
        "customer_id": request.customer_id,
        "shown_at": shown_at.astimezone(UTC).isoformat(),
        "is_explored": chosen.offer.is_explored,
        "items": [asdict(item) for item in chosen.offer.items],
    }
    body = json.dumps(kept, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return answer, Entry("exposure", exposure_id, body, digest_of(body), shown_at)


def unrecorded(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer whose exposure the log could not take in time; what comes of it cannot be told apart later."""
    return {**answer, "exposure_id": None, "degraded": True, "reason": answer["reason"] or "not_recorded"}
