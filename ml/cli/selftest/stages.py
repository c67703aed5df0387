"""The states of the small shop that proofs begin with, each made once per run by the DAGs' own tasks."""

from collections.abc import Callable

from ml.cli.selftest.bench import FIRST_DAY, HISTORY_END, Bench
from ml.cli.selftest.proofs import Walk
from ml.outcomes import ToolFailed

FIRST_LOAD: dict[str, object] = {"first_day": FIRST_DAY.isoformat()}


def must_pass(walk: Walk, first: str, until: str, key: str, params: dict[str, object] | None = None) -> None:
    """Walk over good data.

    Raises:
        ToolFailed: A task failed: nothing can be proven on a shop that does not work.
    """
    walked = walk(first, until, key, params)
    if until not in walked.passed:
        told = "; ".join(f"{name}: {failure.message}" for name, failure in walked.failed.items())
        raise ToolFailed(f"the good shop did not get to {until}: {told or 'not reached'}")


def _load(_bench: Bench, walk: Walk) -> None:
    """The history is in raw."""
    must_pass(walk, "shop_ingest.land_days", "shop_ingest.gate_arrivals", HISTORY_END.isoformat(), FIRST_LOAD)


def _publish(_bench: Bench, walk: Walk) -> None:
    """The history's marts are published and its features online."""
    must_pass(
        walk, "warehouse_build.build_models", "features_materialize.materialize_features", HISTORY_END.isoformat()
    )


STAGES: dict[str, Callable[[Bench, Walk], None]] = {"loaded": _load, "published": _publish}
"""In the order in which they follow each other."""
