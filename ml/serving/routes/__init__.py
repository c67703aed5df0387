"""Every route of the API, in one table. What is not in it is not served."""

from ml.serving.operations import Operation
from ml.serving.routes import decisions, events, health, recommendations, reviews

OPERATIONS: tuple[Operation, ...] = (
    *decisions.OPERATIONS,
    *recommendations.OPERATIONS,
    *events.OPERATIONS,
    *reviews.OPERATIONS,
    *health.OPERATIONS,
)
