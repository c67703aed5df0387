"""Every route of the API, in one table. What is not in it is not served."""

from ml.serving.operations import Operation
from ml.serving.routes import decisions, events, health, recommendations, reviews

# The routes that are asked most come first: they are looked for in this order.
OPERATIONS: tuple[Operation, ...] = (
    *decisions.OPERATIONS,
    *recommendations.OPERATIONS,
    *events.OPERATIONS,
    *reviews.OPERATIONS,
    *health.OPERATIONS,
)

RESERVED = frozenset(operation.path for operation in OPERATIONS if not operation.path_names)
"""Addresses without parameters: their words are no ids."""
