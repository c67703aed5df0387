"""The slots of both products: which version is loaded, what is served while it is refused, and who is told.

A champion that is damaged when a process starts is passed over for the one before it, as the pointer's chain has it;
with none left, the rest is loaded without a model, and the lower steps of the product's ladder answer. A process that
has loaded something keeps it whatever comes after.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ml.alerts.incidents import close_incident, open_incident
from ml.serving.fraud_parts import FraudParts, fraud_fingerprint, load_fraud
from ml.serving.golden_check import check_in_child
from ml.serving.loader import NO_MODEL, Alternative, Loader, Slot, Versioned
from ml.serving.recommender_parts import RecommenderParts, load_recommender, recommender_fingerprint
from ml.settings import Settings, wall_clock
from ml.stores.durable import exclusive_lock
from ml.stores.operations import Operations
from ml.stores.registry import champion

T = TypeVar("T", bound=Versioned)

KIND, RULE = "serving_refused", "checked_before_serving"
# A tool that fails once is busy; one that goes on failing leaves us not knowing whether the newest could be served.
_ACCIDENTS_BEFORE_TELLING = 3


class Checked:
    """Versions that passed their check in a child process; each is checked once.

    Args:
        folder: Of all processes of the port: what one of them has checked no other checks again, so that one that
            takes another's place has its models soon. None: this process is alone.
    """

    def __init__(
        self, settings: Settings, product: str, check: Callable[[Settings, str, str], None], folder: Path | None
    ) -> None:
        self._settings, self._product, self._check, self._folder = settings, product, check, folder
        self._passed: set[str] = set()

    def require(self, version: str) -> str:
        """The version, if it passes; raises DataFailed or ToolFailed else. Its sha256 are held at each load anyway."""
        if version not in self._passed:
            self._check_once(version)
            self._passed = {version}
        return version

    def _check_once(self, version: str) -> None:
        if self._folder is None:
            self._check(self._settings, self._product, version)
            return
        with exclusive_lock(self._folder / f"{self._product}.lock"):
            passed = self._folder / f"{self._product} {version}"
            if not passed.exists():
                self._check(self._settings, self._product, version)
                passed.touch()


def product_slot(
    settings: Settings,
    product: str,
    fingerprint: Callable[[], str],
    load: Callable[[str | None], T],
    check: Callable[[Settings, str, str], None] = check_in_child,
) -> Slot[T]:
    """The slot of a product.

    Args:
        fingerprint: Changes when champion, policy or data change.
        load: Loads what is served with this model version; None before the first champion; `NO_MODEL`: without one.
        check: Judges a version before its first load here.
    """
    checked = Checked(settings, product, check, settings.serving_checked_dir)
    judged: list[str | None] = [None]  # what is loaded is what was checked, also when the pointer moves in between

    def check_champion() -> None:
        current = champion(settings, product)
        judged[0] = checked.require(current.version) if current else None

    def earlier() -> list[Alternative[T]]:
        before = [
            Alternative(version, lambda version=version: load(checked.require(version)))  # type: ignore[misc]
            for version in _versions_before(settings, product)
        ]
        return [*before, Alternative(NO_MODEL, lambda: load(NO_MODEL))]

    return Slot(
        product,
        fingerprint,
        lambda: load(judged[0]),
        check_champion,
        earlier,
    )


def _versions_before(settings: Settings, product: str) -> Iterator[str]:
    current = champion(settings, product)
    while current is not None and current.previous is not None:
        current = current.previous
        yield current.version


def incidents_of(operations: Operations) -> Callable[[Slot[Any]], None]:
    """What a loader tells of a slot: opens the incident of a refusal, closes it when the newest is served."""

    def tell(slot: Slot[Any]) -> None:
        refusal, today = slot.refusal, wall_clock().date()
        if refusal is None:
            close_incident(operations, kind=KIND, object=slot.name, rule=RULE, partition=today)
        elif refusal.is_verdict or refusal.attempts >= _ACCIDENTS_BEFORE_TELLING:
            served = slot.condition()["version"]
            open_incident(
                operations,
                kind=KIND,
                object=slot.name,
                rule=RULE,
                partition=today,
                severity="alert" if refusal.is_verdict else "unknown",
                title=f"{slot.name}: the API does not serve the newest version",
                body=f"{refusal.reason}\nServed meanwhile: {served or 'no model; the ladder answers'}. "
                "Runbook: docs/runbooks/serving_refused.md",
            )

    return tell


def serving_loader(
    settings: Settings, operations: Operations
) -> tuple[Slot[FraudParts], Slot[RecommenderParts], Loader]:
    """The products' slots, and the loader that watches both. Nothing is loaded yet: call `load_now`."""
    fraud = product_slot(
        settings,
        "fraud",
        lambda: fraud_fingerprint(settings, operations),
        lambda version: load_fraud(settings, operations, version),
    )
    recommender = product_slot(
        settings,
        "recommender",
        lambda: recommender_fingerprint(settings),
        lambda version: load_recommender(settings, version),
    )
    return fraud, recommender, Loader((fraud, recommender), tell=incidents_of(operations))
