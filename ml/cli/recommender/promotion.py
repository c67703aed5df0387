"""The decision: promotion rules applied to what was measured, every rule kept, the champion moved or not."""

import json
from datetime import date
from typing import Any

from ml.alerts.incidents import close_incident, open_incident
from ml.cli.recommender.challenge import challenge_path
from ml.cli.recommender.inputs import PRODUCT
from ml.evaluation.promotion import Challenge, PromotionConfig, Rule, at_most, judge_challenge, verdict
from ml.outcomes import ToolFailed
from ml.settings import Settings, get_settings
from ml.stores import registry
from ml.stores.operations import Operations

_INCIDENT: dict[str, Any] = {"kind": "promotion_refused", "object": PRODUCT, "rule": "promotion_rules"}


def decide_promotion(partition: date) -> dict[str, Any]:
    """Decide a day's challenge. A lost challenge is no failure; it is stored with every rule and told to operators.

    Raises:
        ToolFailed: Nothing was measured for the day, or the champion has changed since it was measured.
    """
    settings = get_settings()
    path = challenge_path(settings, partition)
    if not path.exists():
        raise ToolFailed(f"no challenge of {partition} was measured; run `shopwright recommender train`")
    challenge = json.loads(path.read_bytes())
    operations = Operations.from_settings(settings)
    _crown_first(settings, operations, partition, challenge)
    current = registry.champion(settings, PRODUCT)
    assert current is not None, "a challenge without a champion names its first one"
    if current.version == challenge["challenger"]:
        return _summary(partition, challenge, "promoted", [])
    if current.version != challenge["champion"]:
        raise ToolFailed(f"the champion has changed since {challenge['challenger']} was judged; train again")
    rules = [
        *judge_challenge(Challenge.from_dict(challenge["measured"]), PromotionConfig(seed=settings.seed)),
        at_most("rolled_back_before", float(challenge["challenger"] in current.withdrawn), 0.0),
    ]
    decided = verdict(rules)
    _record(operations, partition, challenge, current.version, decided, rules)
    if decided == "promoted":
        registry.promote(settings, PRODUCT, challenge["challenger"], partition)
        registry.prune_bundles(settings, PRODUCT)
        close_incident(operations, **_INCIDENT, partition=partition)
    else:
        _tell(operations, partition, challenge, decided, rules)
    return _summary(partition, challenge, decided, rules)


def _crown_first(settings: Settings, operations: Operations, partition: date, challenge: dict[str, Any]) -> None:
    """Make the best baseline the first champion, so that somebody serves and the ranker has whom to challenge."""
    first = challenge["first_champion"]
    if first is None or registry.champion(settings, PRODUCT) is not None:
        return
    ndcg = {name: summary["ndcg_at_10"] for name, summary in challenge["metrics"].items() if name != "ranker"}
    rule = Rule("best_baseline_ndcg_at_10", "passed", max(ndcg.values()), None)
    operations.record_promotion(
        product=PRODUCT,
        challenger=first,
        champion=None,
        partition=partition.isoformat(),
        verdict="promoted",
        rules=[rule.as_dict()],
        metrics=challenge["metrics"],
    )
    registry.promote(settings, PRODUCT, first, partition)


def _record(
    operations: Operations,
    partition: date,
    challenge: dict[str, Any],
    champion: str,
    decided: str,
    rules: list[Rule],
) -> None:
    operations.record_promotion(
        product=PRODUCT,
        challenger=challenge["challenger"],
        champion=champion,
        partition=partition.isoformat(),
        verdict=decided,
        rules=[rule.as_dict() for rule in rules],
        metrics=challenge["metrics"],
    )


def _tell(operations: Operations, partition: date, challenge: dict[str, Any], decided: str, rules: list[Rule]) -> None:
    lines = [f"{rule.rule}: {rule.status}, observed {rule.observed}, threshold {rule.threshold}" for rule in rules]
    open_incident(
        operations,
        **_INCIDENT,
        partition=partition,
        severity="unknown" if decided == "unknown" else "warn",
        title=f"{PRODUCT}: {challenge['challenger']} was not promoted ({decided})",
        body="\n".join([f"{challenge['champion']} goes on serving.", *lines]),
    )


def _summary(partition: date, challenge: dict[str, Any], decided: str, rules: list[Rule]) -> dict[str, Any]:
    return {
        "partition": partition.isoformat(),
        "challenger": challenge["challenger"],
        "champion_before": challenge["champion"],
        "opponent": challenge["opponent"],
        "verdict": decided,
        "rules": [rule.as_dict() for rule in rules],
    }
