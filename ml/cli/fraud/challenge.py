"""A challenger: trained on past orders, judged with the champion and all baselines on the newest mature ones."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.cli.feature_changes import changed_features
from ml.cli.fraud.fallback import NOT_TRIED, FallbackTrial, try_fallback
from ml.cli.fraud.inputs import (
    PAYMENTS_MART,
    PRODUCT,
    configuration,
    origin,
    used_columns,
    used_fingerprints,
)
from ml.cli.fraud.record import record_training
from ml.cli.fraud.training import REFERENCE_ROWS, TRAINING_ROWS
from ml.cli.promotion import finite, store_challenge, stored_challenge
from ml.cli.training_sets import find_training_set, require_passed_gate, training_store
from ml.evaluation.classification_promotion import Contender, PromotionConfig, measure_challenge
from ml.evaluation.explanation_budget import Budgeted, explanation_milliseconds, within_budget
from ml.fairness.groups import order_groups
from ml.fairness.rates import RateGap, RatesConfig, audit_decisions
from ml.fraud.baselines import fit_baselines
from ml.fraud.config import FraudConfig
from ml.fraud.dataset import TEST
from ml.fraud.evaluate import JudgedFraud, best, judge
from ml.fraud.fallback import fit_fallback
from ml.fraud.features import model_features
from ml.fraud.golden import GOLDEN, golden_file
from ml.fraud.inputs import input_values
from ml.fraud.policy import Policy, expected_costs
from ml.fraud.protocols import BIAS, FraudScorer
from ml.fraud.score import FraudModel
from ml.fraud.train import fit
from ml.outcomes import DataFailed
from ml.serving.fraud_parts import active_policy, scorer_of
from ml.settings import Settings, get_settings
from ml.stores import mlflow_tracking, registry
from ml.stores.bundles import REFERENCE, ModelBundle, save_bundle
from ml.stores.operations import Operations
from ml.stores.versions import Version
from ml.stores.warehouse import Marts, open_marts

CHAMPION = "champion"  # the champion's name among the judged, where it is a trained model
SCORE = "score"

Floats = npt.NDArray[np.float64]

_WATCHED = 25
_ROWS_WEIGHED = 1000
_FILLED_SHARE = 0.5


@dataclass(frozen=True)
class Trial:
    """A trained model on its test days.

    Attributes:
        rows: The test rows.
        scorers: All baselines, the model and, where these features can score it, a model that is champion.
        judged: By name, in the order of `rows`.
        baseline: Name of the best baseline, by average precision.
        fallback: The model for orders whose counted features are missing.
    """

    rows: pd.DataFrame
    scorers: dict[str, FraudScorer]
    judged: dict[str, JudgedFraud]
    baseline: str
    fallback: FallbackTrial = NOT_TRIED

    def metrics(self) -> dict[str, dict[str, float]]:
        return {name: judged.summary() for name, judged in self.judged.items()}


def train_challenger(partition: date) -> dict[str, Any]:
    """Train a model, judge it with all baselines and the champion on the test days, and save it as a bundle.

    Training the same set again gives the same bundle; the challenge that is stored for it stays as it is.

    Raises:
        DataFailed: The training set has nothing to learn from, or the champion's bundle is damaged.
        ToolFailed: There is no training set of this day, or MLflow is down.
    """
    settings = get_settings()
    version = find_training_set(settings, PRODUCT, partition)
    require_passed_gate(settings, PRODUCT, version)
    marts = open_marts(settings, version.lineage["marts_version"])
    config = configuration(settings)
    store = training_store(settings, PRODUCT)
    rows = store.read(version, TRAINING_ROWS).to_pandas()
    budgeted = _fit(rows, config)
    model = budgeted.model
    baselines = fit_baselines(rows, list(model_features(rows.columns)), config)
    fallback = fit_fallback(rows, config)
    test = rows[rows["fold"] == TEST].reset_index(drop=True)
    del rows
    champion = registry.load_champion(settings, PRODUCT)
    policy = active_policy(Operations.from_settings(settings))
    trial = _try(model, baselines, _comparable(marts, champion), test, policy, config)
    trial = replace(trial, fallback=try_fallback(fallback, test, config))
    reference = store.read(version, REFERENCE_ROWS).to_pandas()
    bundle = _save(settings, model, version, trial, reference)
    challenge = _stored_or_measured(
        settings, partition, bundle, champion, trial, version, marts, policy, reference, budgeted.milliseconds
    )
    record_training(settings, bundle, trial.judged, model)
    return {
        "partition": partition.isoformat(),
        "challenger": bundle.version,
        "champion": challenge["champion"],
        "opponent": challenge["opponent"],
        "payments": origin(settings)["payments"],
        "metrics": challenge["metrics"],
    }


def _fit(rows: pd.DataFrame, config: FraudConfig) -> Budgeted[FraudModel]:
    """A model whose reasons cost no more than they may; one with fewer trees for their sake is named so."""

    def train(trees: int) -> FraudModel:
        model = fit(rows, replace(config, trees=replace(config.trees, trees=trees)))
        return model if trees == config.trees.trees else replace(model, name=f"{model.name}_at_most_{trees}")

    def measure(model: FraudModel) -> float:
        one = input_values(rows.head(1), model.features)
        return explanation_milliseconds(lambda: model.judged(one))

    return within_budget(train, config.trees.trees, measure)


def _try(
    model: FraudModel,
    baselines: Sequence[FraudScorer],
    rival: FraudScorer | None,
    test: pd.DataFrame,
    policy: Policy,
    config: FraudConfig,
) -> Trial:
    scorers: dict[str, FraudScorer] = {one.name: one for one in baselines} | {model.name: model}
    if rival is not None:
        scorers[CHAMPION] = rival

    def costs(probabilities: Floats, rows: pd.DataFrame) -> pd.DataFrame:
        return expected_costs(probabilities, rows["amount_cents"].to_numpy(), rows, policy)[list(policy.actions)]

    judged = {
        name: judge(test, scorer.probabilities(test), config, costs=costs if "approve" in policy.actions else None)
        for name, scorer in scorers.items()
    }
    return Trial(test, scorers, judged, best({one.name: judged[one.name] for one in baselines}))


def _comparable(marts: Marts, champion: ModelBundle | None) -> FraudScorer | None:
    """The champion on these features; None for a baseline, which is fitted anew, or when its features have changed."""
    if champion is None or champion.kind == "baseline":
        return None
    if changed_features(champion, used_fingerprints(marts, champion.manifest["features"])):
        return None
    try:
        return scorer_of(champion)
    except DataFailed:
        return None


def _save(
    settings: Settings, scorer: FraudScorer, version: Version, trial: Trial, reference: pd.DataFrame
) -> ModelBundle:
    """A scorer as a bundle: with a sample of the newest orders as it scores them, golden rows, the fallback model."""
    watched = watched_features(scorer, reference)
    sample = reference[watched].assign(**{SCORE: scorer.probabilities(reference)})
    buffer = io.BytesIO()
    sample[np.isfinite(sample[SCORE])].to_parquet(buffer, index=False)
    files: dict[str, bytes | Path] = {**scorer.files(), REFERENCE: buffer.getvalue()}
    files |= {GOLDEN: golden_file(trial.rows, scorer, trial.fallback.model), **trial.fallback.files()}
    return save_bundle(settings, PRODUCT, _manifest(version, scorer, trial) | {"watched": watched}, files)


def watched_features(scorer: FraudScorer, reference: pd.DataFrame) -> list[str]:
    """The inputs that move the scores most, and that most orders have: what drift is looked for in.

    A model has hundreds of inputs. Most of them hardly matter to it, and comparing all takes minutes a day.
    """
    rows = reference.head(_ROWS_WEIGHED)
    weights = scorer.contributions(rows).drop(columns=BIAS).abs().mean()
    filled = reference[list(scorer.features)].notna().mean() >= _FILLED_SHARE
    ordered = weights[filled.reindex(weights.index)].sort_values(ascending=False, kind="stable")
    return [str(name) for name in ordered.index[:_WATCHED]]


def _manifest(version: Version, scorer: FraudScorer, trial: Trial) -> dict[str, Any]:
    lineage = version.lineage
    # The champion of the day is left out: the same training gives the same bundle, whoever serves meanwhile.
    metrics = {name: summary for name, summary in trial.metrics().items() if name != CHAMPION}
    return {
        "kind": scorer.kind,
        "name": scorer.name,
        "features": list(scorer.features),
        "fingerprints": _fingerprints_of(scorer, lineage["fingerprints"]),
        "trained_partition": lineage["partition"],
        "data_version": version.id,
        "data_sha256": {part.sha256[:16]: f"{part.table}/{part.partition}" for part in version.parts},
        "marts_version": lineage["marts_version"],
        "payments": lineage["payments"],
        "split": lineage["split"],
        "label_delay": lineage["label_delay"],
        "config": lineage["config"],
        "metrics": finite(metrics),
        "fallback": trial.fallback.told(),
    }


def _fingerprints_of(scorer: FraudScorer, fingerprints: Mapping[str, str]) -> dict[str, str]:
    """Those of the columns that the scorer's own inputs come from."""
    return {name: fingerprints[name] for name in used_columns(scorer.features) if name in fingerprints}


def _stored_or_measured(
    settings: Settings,
    partition: date,
    bundle: ModelBundle,
    champion: ModelBundle | None,
    trial: Trial,
    version: Version,
    marts: Marts,
    policy: Policy,
    reference: pd.DataFrame,
    explanation_ms: float,
) -> dict[str, Any]:
    """The challenge. With no champion yet, the best baseline is saved to be the first."""
    stored = stored_challenge(settings, partition, bundle)
    if stored is not None:
        return stored
    is_first = champion is None
    if champion is None:
        champion = _save(settings, trial.scorers[trial.baseline], version, trial, reference)
        mlflow_tracking.log_bundle(settings, champion, params=origin(settings))
    name = str(bundle.manifest["name"])
    model = trial.scorers[name]
    assert isinstance(model, FraudModel)
    opponent = _opponent(champion, trial)
    gaps = _gaps(marts, trial, name, policy, settings.seed)
    measured = measure_challenge(
        Contender(name, model.kind, trial.judged[name].per_order, model.leaves(), explanation_ms),
        opponent,
        Contender(trial.baseline, "baseline", trial.judged[trial.baseline].per_order),
        [gap.as_dict() for gap in gaps],
        PromotionConfig(seed=settings.seed),
    )
    return store_challenge(
        settings,
        partition,
        bundle,
        champion,
        is_first=is_first,
        opponent=opponent.name,
        best_baseline=trial.baseline,
        measured=measured.as_dict() | {"fallback": trial.fallback.told()},
        metrics=trial.metrics(),
    )


def _opponent(champion: ModelBundle, trial: Trial) -> Contender:
    """The champion, or the best baseline in place of a champion that these features cannot score."""
    name = str(champion.manifest["name"])
    if champion.kind == "baseline" and name in trial.judged:
        return Contender(name, "baseline", trial.judged[name].per_order)
    if CHAMPION in trial.judged:
        return Contender(champion.version, champion.kind, trial.judged[CHAMPION].per_order)
    return Contender(trial.baseline, "baseline", trial.judged[trial.baseline].per_order)


def _gaps(marts: Marts, trial: Trial, name: str, policy: Policy, seed: int) -> list[RateGap]:
    """Rates of what the policy would decide by the model alone, by group of customers, joined after scoring."""
    connection = marts.connect()
    orders = connection.execute(
        f"select order_id, customer_id, attempted_at, account_created_at, ip_country from {PAYMENTS_MART}"  # noqa: S608 - our own names
    ).df()
    demographics = pd.DataFrame({"customer_id": []})
    if "audit_demographics" in marts.version.tables():
        demographics = connection.execute("select * from audit_demographics").df()
    judged = trial.judged[name].per_order
    orders = judged[["order_id"]].merge(orders, on="order_id", how="left", validate="one_to_one")
    probability = judged["probability"].to_numpy(np.float64)
    costs = expected_costs(np.nan_to_num(probability), trial.rows["amount_cents"].to_numpy(), trial.rows, policy)
    action = costs[list(policy.actions)].idxmin(axis=1).to_numpy()
    frame = judged.assign(action=action, propensity=trial.rows["propensity"].to_numpy())
    return audit_decisions(frame, order_groups(orders, demographics), RatesConfig(seed=seed))
