"""Recommendations for a customer, by the best step of the ladder that answers in time."""

from ml.serving.bodies import MAX_BATCH_BYTES, validated
from ml.serving.exposures import RecommendationRequest
from ml.serving.models.recommendations import (
    Recommendation,
    RecommendationQuery,
    Recommendations,
    WantedRecommendations,
)
from ml.serving.operations import Call, Operation
from ml.serving.requests import Answer

READ = "recommendations:read"


async def _recommend(call: Call) -> Answer:
    (answer,) = await _answers(call, [_wanted(call.path["customer_id"], call.query)])
    return Answer(answer, step=str(answer["step"]))


async def _recommend_several(call: Call) -> Answer:
    wanted = validated(WantedRecommendations, call.body).requests
    call.services.limits.take_key(call.caller.name, len(wanted) - 1)
    answers = await _answers(call, [_wanted(one.customer_id, one) for one in wanted])
    return Answer({"recommendations": answers})


def _wanted(customer_id: str, query: RecommendationQuery) -> RecommendationRequest:
    return RecommendationRequest(
        customer_id, query.placement, query.k, tuple(query.exclude), query.category, query.store_id
    )


async def _answers(call: Call, requests: list[RecommendationRequest]) -> list[dict[str, object]]:
    for request in requests:
        call.services.limits.take_customer(request.customer_id)
    return await call.services.recommendations.recommend(requests, call.caller.name, call.request.received)


OPERATIONS = (
    Operation(
        "recommend",
        "GET",
        "/v1/recommendations/{customer_id}",
        READ,
        "Products for a customer; an unknown customer gets what is popular",
        _recommend,
        Recommendation,
        query=RecommendationQuery,
        has_deadline=True,
    ),
    Operation(
        "recommend_several",
        "POST",
        "/v1/recommendations/batch",
        READ,
        "Products for several customers",
        _recommend_several,
        Recommendations,
        body=WantedRecommendations,
        most_bytes=MAX_BATCH_BYTES,
    ),
)
