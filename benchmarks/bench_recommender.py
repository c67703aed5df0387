"""The recommender against its baselines, by the next-week protocol on three test weeks of The Complete Journey.

Builds the marts through the product's own steps in a state folder of its own, trains on label weeks up to 2017-11-13,
and compares on the weeks of 2017-11-27, 12-04 and 12-11 pooled, paired by customer, with a bootstrap clustered by
household. Passes when the lower end of the 95% interval of NDCG@10 (ours minus the best baseline) is above 0.
The test weeks decide nothing: parameters were chosen on label weeks up to 2017-11-13.
"""

import json
import os
import resource
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

from machine import describe_run

PROJECT = Path(__file__).resolve().parents[1]
RESULT = PROJECT / "benchmarks" / "results" / "recommender.json"
FIRST_DAY, LAST_DAY = date(2017, 1, 1), date(2017, 12, 24)
NEWEST_TRAINING_DAY = date(2017, 11, 19)  # the last day of the label week of 2017-11-13
TEST_CUTS = (date(2017, 11, 27), date(2017, 12, 4), date(2017, 12, 11))
DRAWS = 5000
SEED = 20171119


def main() -> int:
    _use_own_state()
    started = perf_counter()
    seconds = {"marts": _build_marts()}
    from ml.cli.recommender.inputs import FeastFeed, configuration
    from ml.evaluation.promotion import best
    from ml.recommender.baselines import all_baselines
    from ml.recommender.evaluate import judge_all, open_cut, pool_cuts
    from ml.settings import get_settings
    from ml.stores.warehouse import open_marts

    settings = get_settings()
    marts = open_marts(settings)
    config = configuration(settings)
    feed = FeastFeed(settings, marts)
    moment = perf_counter()
    ranker, training_cuts = _train(marts.connect(), feed, config)
    seconds["training"] = perf_counter() - moment
    moment = perf_counter()
    connection = marts.connect()
    baselines = all_baselines(config.baselines)
    by_cut = [judge_all(open_cut(connection, day, config), [*baselines, ranker]) for day in TEST_CUTS]
    judged = pool_cuts(by_cut)
    seconds["evaluation"] = perf_counter() - moment
    seconds["all"] = perf_counter() - started
    best_baseline = best({one.name: judged[one.name] for one in baselines})
    gains = {name: _gains(judged["ranker"], judged[name]) for name in judged if name != "ranker"}
    result = {
        **describe_run(),
        "protocol": {
            "training_cuts": [str(day) for day in training_cuts],
            "test_cuts": [str(day) for day in TEST_CUTS],
            "draws": DRAWS,
            "seed": SEED,
        },
        "methods": {name: one.summary() for name, one in judged.items()},
        "by_cut": {
            str(day): {name: one.summary()["ndcg_at_10"] for name, one in cut.items()}
            for day, cut in zip(TEST_CUTS, by_cut, strict=True)
        },
        "best_baseline": best_baseline,
        "ranker_minus": gains,
        "passed": gains[best_baseline]["ndcg"]["low"] > 0,
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    _print(result)
    return 0 if result["passed"] else 1


def _use_own_state() -> None:
    """The shop is fixed and the state is apart, whatever the environment says."""
    for name in [name for name in os.environ if name.startswith("SHOPWRIGHT_")]:
        del os.environ[name]
    os.environ["SHOPWRIGHT_STATE_DIR"] = "var/benchmarks/recommender"
    os.environ["SHOPWRIGHT_SHOP_ID"] = "completejourney"
    os.environ["SHOPWRIGHT_SOURCE"] = "completejourney"
    os.environ["SHOPWRIGHT_TIMEZONE"] = "America/New_York"
    os.environ["SHOPWRIGHT_PROMOTIONS_WEEKS"] = "0"
    os.environ["SHOPWRIGHT_SEED"] = str(SEED)
    os.environ["SHOPWRIGHT_ALERT_URLS"] = "[]"


def _build_marts() -> float:
    from ml.cli import features, ingest, warehouse

    started = perf_counter()
    steps = (
        ("landing", lambda: ingest.land_days(FIRST_DAY, LAST_DAY)),
        ("arrival gate", lambda: ingest.gate_arrivals(LAST_DAY)),
        ("dbt build", lambda: warehouse.build_models(LAST_DAY)),
        ("mart gate", lambda: warehouse.gate_marts(LAST_DAY)),
        ("publication", lambda: warehouse.publish_marts(LAST_DAY)),
        ("features", lambda: features.materialize_features(LAST_DAY)),
    )
    for name, step in steps:
        moment = perf_counter()
        step()
        print(f"{name}: {perf_counter() - moment:.0f} s", flush=True)
    return perf_counter() - started


def _train(connection: Any, feed: Any, config: Any) -> tuple[Any, list[date]]:
    import pandas as pd

    from ml.evaluation.time_splits import monday_cuts
    from ml.recommender.evaluate import open_cut
    from ml.recommender.features import FEATURES
    from ml.recommender.ranker import Ranker
    from ml.recommender.train import fit, rows_of_cut, sample_negatives

    cuts = monday_cuts(FIRST_DAY, NEWEST_TRAINING_DAY, config.split.min_history_days)[-config.split.training_cuts :]
    kept = []
    for day in cuts:
        rows, _ = rows_of_cut(open_cut(connection, day, config), feed, config)
        kept.append(sample_negatives(rows, config.ranker.negatives_per_customer, config.seed))
        print(f"label week of {day}: {len(kept[-1]):,} rows", flush=True)
    booster = fit(pd.concat(kept, ignore_index=True), FEATURES, config.ranker, config.seed)
    return Ranker(booster, config, feed), cuts


def _gains(ours: Any, theirs: Any) -> dict[str, dict[str, float]]:
    from ml.evaluation.promotion import PromotionConfig, compare

    config = PromotionConfig(draws=DRAWS, seed=SEED)
    metrics = ("ndcg", "recall", "average_precision", "hit")
    return {metric: asdict(compare(ours, theirs, metric, config)) for metric in metrics}


def _print(result: dict[str, Any]) -> None:
    from ml.cli.recommender import print_metrics

    print()
    print_metrics(result["methods"])
    print()
    for name, gains in result["ranker_minus"].items():
        ndcg = gains["ndcg"]
        mark = "  <- best baseline" if name == result["best_baseline"] else ""
        print(f"ranker - {name:20} NDCG@10 {ndcg['mean']:+.4f} [{ndcg['low']:+.4f}, {ndcg['high']:+.4f}]{mark}")
    print(f"\n{'passed' if result['passed'] else 'FAILED'}; written to {RESULT.relative_to(PROJECT)}")


if __name__ == "__main__":
    sys.exit(main())
