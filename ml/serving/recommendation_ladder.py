"""Which step of the ladder answers a request for recommendations, given what could be read in time.

Every answer says its step, whether a better one should have answered, and why, in one word: `objected`,
`consent_unknown`, `cold_start`, `stale`, `late`, `rows_late`, `rows_unavailable`, `rows_breaker_open`, `rows_missing`,
`not_ranked`, `model_refused`, `other_layout`, `changed_features`, `no_list`, `nothing_loaded`, `nothing_published`,
`nothing_left`, `failed`; `not_recorded` where only the log did not take it in time.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ml.recommender.online import Filters, Step, static_offer
from ml.serving.exposures import Chosen, RecommendationRequest
from ml.serving.recommender_parts import RecommenderParts

STALE_AFTER = timedelta(days=3)
"""Two daily runs were missed: still the best there is, and said so."""
TOO_OLD_AFTER = timedelta(days=28)
"""The window of what "lately" means: older habits, with their reasons in days, are not told any more."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """What is known for the requests of one call.

    Attributes:
        objections: Customer -> whether they object to profiling; None: it could not be read.
        rows: Customer -> row; None: they could not be read, or were not asked for.
        reason: Why a customer has no row here.
        age: Of what is published; None before anything is.
        ranks_until: By `time.perf_counter()`: later, nothing is ranked any more.
    """

    parts: RecommenderParts | None
    objections: Mapping[str, bool] | None
    rows: Mapping[str, bytes] | None
    reason: str
    age: timedelta | None
    ranks_until: float


def is_too_old(age: timedelta | None) -> bool:
    return age is not None and age > TOO_OLD_AFTER


def choose(request: RecommendationRequest, known: Known, static_products: Sequence[str]) -> Chosen:
    """The best step. One that throws is passed over, whatever it throws: a customer waits."""
    parts, filters = known.parts, Filters(request.exclude, request.category, request.store_id)
    chosen = None
    if parts is not None and parts.as_of_date is not None:
        try:
            chosen = _from_published(request, filters, parts, known)
        except Exception as error:  # noqa: BLE001
            _LOG.error("recommendations: %s", type(error).__name__)
    if chosen is not None and chosen.offer.items:
        return chosen
    if parts is not None:
        offer = parts.engine.static(static_products, request.k, filters)
    else:  # without a catalogue no product is known to be of a category
        offer = static_offer(() if request.category else static_products, request.k, filters)
    if chosen is not None and not offer.items:
        return chosen  # nothing passes the filters: an empty answer, and no fault
    reason = "nothing_left" if chosen is not None else "failed"
    if parts is None or parts.as_of_date is None:
        reason = "nothing_loaded" if parts is None else "nothing_published"
    return Chosen(offer, "static", True, not _objects(request, known), reason, None)


def _objects(request: RecommendationRequest, known: Known) -> bool:
    """Whether the customer objects to profiling, or may do so."""
    return known.objections is None or known.objections.get(request.customer_id, False)


def _from_published(request: RecommendationRequest, filters: Filters, parts: RecommenderParts, known: Known) -> Chosen:
    customer, engine, seconds = request.customer_id, parts.engine, _seconds(known.age)
    if _objects(request, known):
        step, is_unread = _popular_step(parts, None, filters), known.objections is None
        reason = "consent_unknown" if is_unread else "objected"
        return Chosen(engine.popular(request.k, filters), step, is_unread, False, reason, seconds)
    if not engine.knows(customer):
        offer = engine.popular(request.k, filters, is_new=True)
        return Chosen(offer, _popular_step(parts, None, filters), False, True, "cold_start", seconds)
    if is_too_old(known.age):
        return _popular(request, filters, parts, "stale", seconds)
    stale = "stale" if known.age is not None and known.age > STALE_AFTER else None
    if parts.rows_version is None:  # a baseline's lists are its normal answer
        return _listed(request, filters, parts, parts.fault or stale, seconds)
    if known.rows is None or customer not in known.rows:
        return _listed(request, filters, parts, known.reason, seconds)
    if time.perf_counter() > known.ranks_until:
        return _listed(request, filters, parts, "late", seconds)
    try:
        offer = engine.rank(customer, known.rows[customer], request.k, filters)
    except Exception as error:  # noqa: BLE001 - a damaged row, or whatever a model throws
        _LOG.error("a customer's row cannot be ranked: %s", type(error).__name__)
        return _listed(request, filters, parts, "not_ranked", seconds)
    return Chosen(offer, "personal", stale is not None, True, stale, seconds)


def _listed(
    request: RecommendationRequest,
    filters: Filters,
    parts: RecommenderParts,
    reason: str | None,
    seconds: float | None,
) -> Chosen:
    """The customer's published list; where that cannot be told, what is popular in their store."""
    try:
        offer = parts.engine.batch(request.customer_id, request.k, filters)
    except Exception as error:  # noqa: BLE001
        _LOG.error("a published list cannot be told: %s", type(error).__name__)
        return _popular(request, filters, parts, "no_list", seconds)
    return Chosen(offer, "batch", reason is not None, True, reason, seconds)


def _popular(
    request: RecommendationRequest, filters: Filters, parts: RecommenderParts, reason: str, seconds: float | None
) -> Chosen:
    offer = parts.engine.popular(request.k, filters, request.customer_id)
    return Chosen(offer, _popular_step(parts, request.customer_id, filters), True, True, reason, seconds)


def _popular_step(parts: RecommenderParts, customer: str | None, filters: Filters) -> Step:
    return "segment" if parts.engine.store_of(customer, filters) else "popular"


def _seconds(age: timedelta | None) -> float | None:
    return None if age is None else age.total_seconds()
