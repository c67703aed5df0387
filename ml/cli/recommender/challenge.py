"""A challenger: trained on past weeks, judged with the champion and all baselines on the newest ones."""

import io
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost as xgb

from ml.cli.feature_changes import changed_features
from ml.cli.promotion import challenger_before, finite, store_challenge, stored_challenge
from ml.cli.recommender.inputs import (
    PRODUCT,
    FeastFeed,
    as_recommender,
    configuration,
    customer_groups,
    used_fingerprints,
)
from ml.cli.recommender.record import record_training
from ml.cli.recommender.training import PROMOTION_ROWS, REFERENCE_ROWS, TRAINING_ROWS
from ml.cli.training_sets import find_training_set, require_passed_gate, training_store
from ml.evaluation.explanation_budget import Budgeted, explanation_milliseconds, within_budget
from ml.evaluation.promotion import Contender, PromotionConfig, best, measure_challenge
from ml.evaluation.ranking_metrics import Judged, K
from ml.recommender.baselines import all_baselines
from ml.recommender.config import RecommenderConfig
from ml.recommender.evaluate import Cut, judge, judge_all, open_cut, pool_cuts
from ml.recommender.explain import Explainer
from ml.recommender.features import FEATURES
from ml.recommender.golden import GOLDEN, golden_rows
from ml.recommender.ranker import Ranker, sample_rows
from ml.recommender.score import best_per_customer
from ml.recommender.train import fit
from ml.settings import Settings, get_settings
from ml.stores import mlflow_tracking, registry
from ml.stores.bundles import MODEL, REFERENCE, ModelBundle, save_bundle
from ml.stores.versions import Version
from ml.stores.warehouse import Marts, open_marts

CHAMPION = "champion"  # the champion's name among the judged, where it is a ranker
_CURVE_TREES = (1, 5, 10, 20, 40, 60, 80, 100)


@dataclass(frozen=True)
class Trial:
    """A trained ranker in its promotion weeks.

    Attributes:
        judged: All baselines, the ranker and, where these features can score it, a ranker that is champion.
        baseline: Name of the best baseline.
        curve: NDCG@10 of the ranker by number of trees.
    """

    judged: dict[str, Judged]
    baseline: str
    curve: dict[int, float]

    def metrics(self) -> dict[str, dict[str, float]]:
        return {name: judged.summary() for name, judged in self.judged.items()}


def train_challenger(partition: date) -> dict[str, Any]:
    """Train a ranker, judge it with all baselines and the champion on the promotion weeks, and save it as a bundle.

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
    training = store.read(version, TRAINING_ROWS).to_pandas()
    budgeted = _fit(training, config, _trees_before(settings, partition, version))
    shortened = replace(config, ranker=replace(config.ranker, trees=budgeted.trees))
    ranker = Ranker(budgeted.model, shortened, FeastFeed(settings, marts))
    del training
    champion = registry.load_champion(settings, PRODUCT)
    promotion = store.read(version, PROMOTION_ROWS).to_pandas()
    trial = _try(ranker, _comparable_ranker(settings, marts, champion), marts, promotion, version)
    reference = ranker.score_candidates(store.read(version, REFERENCE_ROWS).to_pandas())
    sample = sample_rows(reference, config.sampled_rows, config.seed)
    bundle = _save_ranker(settings, ranker, version, trial, sample, is_shortened=budgeted.is_shortened)
    groups = customer_groups(marts)
    challenge = stored_challenge(settings, partition, bundle) or _challenge(
        settings, partition, bundle, champion, trial, groups, version, budgeted
    )
    record_training(settings, ranker, bundle, trial.baseline, trial.judged, trial.curve, groups, budgeted.milliseconds)
    return {
        "partition": partition.isoformat(),
        "challenger": bundle.version,
        "champion": challenge["champion"],
        "opponent": challenge["opponent"],
        "metrics": challenge["metrics"],
        "explain_ten_rows_ms": round(budgeted.milliseconds, 2),
    }


def _trees_before(settings: Settings, partition: date, version: Version) -> int | None:
    """Trees that the same training set was given before: how busy the machine is must not make another model of it."""
    bundle = challenger_before(settings, PRODUCT, partition)
    if bundle is None or bundle.manifest["data_version"] != version.id:
        return None
    return int(bundle.manifest["trees"]) if "trees" in bundle.manifest else None


def _fit(training: pd.DataFrame, config: RecommenderConfig, trees: int | None) -> Budgeted[xgb.Booster]:
    """A ranker whose reasons cost no more than they may, with fewer trees if need be.

    Args:
        trees: So many and no others; None: as the budget allows.
    """
    shown = training[list(FEATURES)].head(config.shown).to_numpy(np.float32)

    def train(trees: int) -> xgb.Booster:
        return fit(training, FEATURES, replace(config.ranker, trees=trees), config.seed)

    def measure(booster: xgb.Booster) -> float:
        return explanation_milliseconds(partial(Explainer(booster, FEATURES).contributions, shown))

    if trees is not None:
        booster = train(trees)
        return Budgeted(booster, trees, measure(booster), is_shortened=trees < config.ranker.trees)
    return within_budget(train, config.ranker.trees, measure)


def _try(ranker: Ranker, rival: Ranker | None, marts: Marts, promotion: pd.DataFrame, version: Version) -> Trial:
    config = ranker.config
    connection = marts.connect()
    baselines = all_baselines(config.baselines)
    by_cut = []
    curves = []
    for day in version.lineage["promotion_cuts"]:
        cut = open_cut(connection, date.fromisoformat(day), config)
        rows = promotion[promotion["cut"].astype(str) == day].reset_index(drop=True)
        if rows.empty:
            continue
        judged = judge_all(cut, baselines)
        judged[ranker.name] = judge(cut, best_per_customer(ranker.score_candidates(rows), K))
        if rival is not None:
            judged[CHAMPION] = judge(cut, best_per_customer(rival.score_candidates(rows), K))
        by_cut.append(judged)
        curves.append(_curve(cut, ranker, rows))
    judged = pool_cuts(by_cut)
    curve = {trees: sum(one[trees] for one in curves) / len(curves) for trees in curves[0]}
    return Trial(judged, best({one.name: judged[one.name] for one in baselines}), curve)


def _comparable_ranker(settings: Settings, marts: Marts, champion: ModelBundle | None) -> Ranker | None:
    """The champion as a ranker on these features; None for a baseline, or when its features have changed."""
    if champion is None or champion.kind != "ranker" or changed_features(champion, used_fingerprints(settings, marts)):
        return None
    if tuple(champion.manifest["features"]) != FEATURES:
        return None
    rival = as_recommender(settings, marts, champion)
    assert isinstance(rival, Ranker)
    return rival


def _curve(cut: Cut, ranker: Ranker, rows: pd.DataFrame) -> dict[int, float]:
    steps = [trees for trees in _CURVE_TREES if trees < ranker.config.ranker.trees]
    found = {}
    for trees in (*steps, ranker.config.ranker.trees):
        shorter = Ranker(ranker.booster[:trees], ranker.config, ranker.feed)
        judged = judge(cut, best_per_customer(shorter.score_candidates(rows), K))
        found[trees] = judged.summary()[f"ndcg_at_{K}"]
    return found


def _save_ranker(
    settings: Settings,
    ranker: Ranker,
    version: Version,
    trial: Trial,
    reference: pd.DataFrame,
    *,
    is_shortened: bool,
) -> ModelBundle:
    """The ranker as a bundle; one with fewer trees than are configured, for the sake of its reasons, is named so."""
    buffer = io.BytesIO()
    reference.to_parquet(buffer, index=False)
    manifest = _manifest(version, trial) | {
        "kind": ranker.kind,
        "name": f"{ranker.name}_{ranker.config.ranker.trees}_trees" if is_shortened else ranker.name,
        "features": list(FEATURES),
        "trees": ranker.config.ranker.trees,
        "fingerprints": version.lineage["fingerprints"],
    }
    files: dict[str, bytes | Path] = {
        MODEL: bytes(ranker.booster.save_raw(raw_format="json")),
        REFERENCE: buffer.getvalue(),
        GOLDEN: golden_rows(ranker.booster, reference[list(FEATURES)].to_numpy(np.float32)),
    }
    return save_bundle(settings, PRODUCT, manifest, files)


def _save_baseline(settings: Settings, version: Version, trial: Trial) -> ModelBundle:
    named = {"kind": "baseline", "name": trial.baseline, "features": [], "fingerprints": {}}
    return save_bundle(settings, PRODUCT, _manifest(version, trial) | named, {})


def _manifest(version: Version, trial: Trial) -> dict[str, Any]:
    lineage = version.lineage
    # The champion of the day is left out: the same training gives the same bundle, whoever serves meanwhile.
    metrics = {name: summary for name, summary in trial.metrics().items() if name != CHAMPION}
    return {
        "trained_partition": lineage["partition"],
        "data_version": version.id,
        "data_sha256": {part.sha256[:16]: f"{part.table}/{part.partition}" for part in version.parts},
        "marts_version": lineage["marts_version"],
        "training_cuts": lineage["training_cuts"],
        "promotion_cuts": lineage["promotion_cuts"],
        "config": lineage["config"],
        "metrics": finite(metrics),
    }


def _challenge(
    settings: Settings,
    partition: date,
    bundle: ModelBundle,
    champion: ModelBundle | None,
    trial: Trial,
    groups: pd.DataFrame,
    version: Version,
    budgeted: Budgeted[xgb.Booster],
) -> dict[str, Any]:
    """Measure the challenge and store it. With no champion yet, the best baseline is saved to be the first."""
    first = None
    if champion is None:
        champion = first = _save_baseline(settings, version, trial)
        mlflow_tracking.log_bundle(settings, first)
    opponent = _opponent(champion, trial)
    config = configuration(settings).ranker
    measured = measure_challenge(
        Contender("ranker", "ranker", trial.judged["ranker"], budgeted.trees * 2**config.depth, budgeted.milliseconds),
        opponent,
        Contender(trial.baseline, "baseline", trial.judged[trial.baseline]),
        groups,
        PromotionConfig(seed=settings.seed),
    )
    return store_challenge(
        settings,
        partition,
        bundle,
        champion,
        is_first=first is not None,
        opponent=opponent.name,
        best_baseline=trial.baseline,
        measured=measured.as_dict(),
        metrics=trial.metrics(),
    )


def _opponent(champion: ModelBundle, trial: Trial) -> Contender:
    """The champion, or the best baseline in place of a champion that these features cannot score."""
    if champion.kind == "baseline" and champion.manifest["name"] in trial.judged:
        name = str(champion.manifest["name"])
        return Contender(name, "baseline", trial.judged[name])
    if CHAMPION in trial.judged:
        return Contender(champion.version, "ranker", trial.judged[CHAMPION])
    return Contender(trial.baseline, "baseline", trial.judged[trial.baseline])
