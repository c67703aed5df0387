"""The decision about a challenger: rules applied to what was measured, every rule kept, the champion moved or not.

Measuring and deciding are two steps: what was measured waits in a file, so that a decision can be made again, looked at
and tested without a training.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from ml.alerts.incidents import close_incident, open_incident
from ml.evaluation.promotion import Rule, at_most, verdict
from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings
from ml.stores import registry
from ml.stores.bundles import ModelBundle, load_bundle, product_dir
from ml.stores.durable import write_durably
from ml.stores.operations import Operations

Metrics = Mapping[str, Mapping[str, float]]
"""Method -> name of a figure -> its value."""


def challenge_path(settings: Settings, product: str, partition: date) -> Path:
    """Where the measurements of a day's challenge wait for the decision."""
    return product_dir(settings, product) / "challenges" / f"{partition}.json"


def stored_challenge(settings: Settings, partition: date, bundle: ModelBundle) -> dict[str, Any] | None:
    """What was measured of a challenger before; None of another one."""
    path = challenge_path(settings, bundle.product, partition)
    if not path.exists():
        return None
    stored: dict[str, Any] = json.loads(path.read_bytes())
    return stored if stored["challenger"] == bundle.version else None


def challenger_before(settings: Settings, product: str, partition: date) -> ModelBundle | None:
    """The challenger that a day's challenge was measured with before; None where there is none, or not any more."""
    path = challenge_path(settings, product, partition)
    if not path.exists():
        return None
    try:
        return load_bundle(settings, product, json.loads(path.read_bytes())["challenger"])
    except DataFailed:
        return None


def store_challenge(
    settings: Settings,
    partition: date,
    bundle: ModelBundle,
    champion: ModelBundle,
    *,
    is_first: bool,
    opponent: str,
    best_baseline: str,
    measured: Mapping[str, Any],
    metrics: Metrics,
) -> dict[str, Any]:
    """Keep a challenge for its decision.

    Args:
        is_first: The champion given has not been promoted yet: the decision does that first.
        opponent: The method that the challenger was compared with.
        measured: What the product's rules judge, as JSON.
        metrics: Of all methods on the same rows.
    """
    challenge = {
        "challenger": bundle.version,
        "champion": champion.version,
        "first_champion": champion.version if is_first else None,
        "opponent": opponent,
        "best_baseline": best_baseline,
        "measured": dict(measured),
        "metrics": finite(metrics),
    }
    path = challenge_path(settings, bundle.product, partition)
    write_durably(path, json.dumps(challenge, indent=1).encode())
    return challenge


def finite(metrics: Metrics) -> dict[str, dict[str, float]]:
    """Without figures that are not defined, such as a recall where there was nothing to find."""
    return {
        name: {key: float(value) for key, value in summary.items() if math.isfinite(value)}
        for name, summary in metrics.items()
    }


def decide_challenge(
    settings: Settings,
    product: str,
    partition: date,
    judge: Callable[[Mapping[str, Any]], Sequence[Rule]],
    figure: str,
) -> dict[str, Any]:
    """Decide a day's challenge. A lost challenge is no failure; it is stored with every rule and told to operators.

    Args:
        judge: The product's rules, of what was measured.
        figure: The figure by which the first champion was chosen among the baselines.

    Raises:
        ToolFailed: Nothing was measured for the day, or the champion has changed since it was measured.
    """
    path = challenge_path(settings, product, partition)
    if not path.exists():
        raise ToolFailed(f"no challenge of {partition} was measured; run `shopwright {product} train`")
    challenge = json.loads(path.read_bytes())
    operations = Operations.from_settings(settings)
    _crown_first(settings, operations, product, partition, challenge, figure)
    current = registry.champion(settings, product)
    assert current is not None, "a challenge without a champion names its first one"
    if current.version == challenge["challenger"]:
        return _summary(partition, challenge, "promoted", [])
    if current.version != challenge["champion"]:
        raise ToolFailed(f"the champion has changed since {challenge['challenger']} was judged; train again")
    rules = [
        *judge(challenge["measured"]),
        at_most("rolled_back_before", float(challenge["challenger"] in current.withdrawn), 0.0),
    ]
    decided = verdict(rules)
    _record(operations, product, partition, challenge, current.version, decided, rules)
    incident: dict[str, Any] = {"kind": "promotion_refused", "object": product, "rule": "promotion_rules"}
    if decided == "promoted":
        registry.promote(settings, product, challenge["challenger"], partition)
        registry.prune_bundles(settings, product)
        close_incident(operations, **incident, partition=partition)
    else:
        broken = [rule for rule in rules if not rule.passed]
        lines = [f"{rule.rule}: {rule.status}, observed {rule.observed}, threshold {rule.threshold}" for rule in broken]
        lines.append(f"{len(rules) - len(broken)} other rules passed; `shopwright promotions` shows all.")
        open_incident(
            operations,
            **incident,
            partition=partition,
            severity="unknown" if decided == "unknown" else "warn",
            title=f"{product}: {challenge['challenger']} was not promoted ({decided})",
            body="\n".join([f"{challenge['champion']} goes on serving.", *lines]),
        )
    return _summary(partition, challenge, decided, rules)


def _crown_first(
    settings: Settings,
    operations: Operations,
    product: str,
    partition: date,
    challenge: Mapping[str, Any],
    figure: str,
) -> None:
    """Make the best baseline the first champion, so that somebody serves and the model has whom to challenge."""
    first = challenge["first_champion"]
    if first is None or registry.champion(settings, product) is not None:
        return
    reached = challenge["metrics"][challenge["best_baseline"]].get(figure)
    rule = Rule(f"best_baseline_{figure}", "passed", reached, None)
    operations.record_promotion(
        product=product,
        challenger=first,
        champion=None,
        partition=partition.isoformat(),
        verdict="promoted",
        rules=[rule.as_dict()],
        metrics=challenge["metrics"],
    )
    registry.promote(settings, product, first, partition)


def _record(
    operations: Operations,
    product: str,
    partition: date,
    challenge: Mapping[str, Any],
    champion: str,
    decided: str,
    rules: Sequence[Rule],
) -> None:
    operations.record_promotion(
        product=product,
        challenger=challenge["challenger"],
        champion=champion,
        partition=partition.isoformat(),
        verdict=decided,
        rules=[rule.as_dict() for rule in rules],
        metrics=challenge["metrics"],
    )


def _summary(partition: date, challenge: Mapping[str, Any], decided: str, rules: Sequence[Rule]) -> dict[str, Any]:
    return {
        "partition": partition.isoformat(),
        "challenger": challenge["challenger"],
        "champion_before": challenge["champion"],
        "opponent": challenge["opponent"],
        "verdict": decided,
        "rules": [rule.as_dict() for rule in rules],
    }
