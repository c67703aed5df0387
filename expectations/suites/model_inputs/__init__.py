"""Suites of training sets, by product."""

from collections.abc import Callable, Mapping
from typing import Any

from great_expectations.expectations.expectation import Expectation

from expectations.suites.model_inputs.fraud import fraud
from expectations.suites.model_inputs.recommender import recommender

MODEL_INPUT_SUITES: Mapping[str, Callable[[Any], list[Expectation]]] = {"recommender": recommender, "fraud": fraud}
