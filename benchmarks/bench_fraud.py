"""Fraud: rules, logistic regression, XGBoost as it comes, and ours, on the same orders of simulated and made-up data.

1. The Complete Journey's real orders with simulated payments and fraud, once per seed. All methods are trained at
   2017-10-01 from the labels known then, and judged on the orders of the quarter that follows by the labels that became
   known eventually. What anybody could reach is the likelihood ratio of the simulation's own processes.
2. Payments of another shape (benchmarks/fraud_handbook.py): customers, terminals, amounts, times, labels a week late.

Features are built by the project's dbt models, from raw rows. Figures are pooled over seeds, methods compared on the
same orders; intervals are of a bootstrap that draws customers within each seed. Prints tables. Each part of full size
goes into benchmarks/results/fraud.json as it is done, with its own date and commit, and leaves the other parts as they
were. All fraud in it is simulated.

    python benchmarks/bench_fraud.py [SEEDS] [--handbook SHARE] [--only shop|handbook|bias]
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import fraud_figures
import numpy as np
import pandas as pd
import pyarrow as pa
from fraud_handbook import FIRST_MOMENT, HandbookConfig, as_tables, make_payments
from fraud_marts import BuiltMarts, build_fraud_marts
from fraud_methods import (
    ATTAINABLE,
    LOGISTIC,
    OURS,
    PROBABILISTIC,
    RAW_XGBOOST,
    RULES,
    Judged,
    costs_in_truth,
    judge_methods,
    saved_cents,
    training_rows_of,
)
from machine import describe_run

if TYPE_CHECKING:
    from ml.shop.fraud_simulation import Simulated, SimulationConfig

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "fraud.json"
FIRST_DAY, AFTER_LAST_DAY = date(2017, 1, 1), date(2018, 1, 1)
TRAIN_AT = datetime(2017, 10, 1, tzinfo=UTC)
ALL_KNOWN = datetime(2018, 12, 31, tzinfo=UTC)
ZONE = "America/New_York"
HANDBOOK_TRAIN_DAYS = 130
FULL_SEEDS = 5
PARTS = ("shop", "handbook", "planted_bias")
DRAWS = 500
SEED = 20171119
LIMITS = {"average_precision_over_raw_xgboost": 1.2, "average_precision_over_attainable": 0.85}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seeds", nargs="?", type=int, default=5)
    parser.add_argument("--handbook", type=float, default=1.0, help="Share of 1.75 million payments.")
    parser.add_argument("--only", choices=("shop", "handbook", "bias"))
    options = parser.parse_args()
    if options.only in (None, "shop"):
        orders, customers = _real_orders()
        shop = summarised([judge_shop(orders, customers, seed) for seed in range(options.seeds)])
        show("The Complete Journey with simulated fraud", shop)
        if options.seeds >= FULL_SEEDS:
            record("shop", shop)
    if options.only in (None, "handbook"):
        handbook = summarised([judge_handbook(HandbookConfig().scaled(options.handbook))])
        show("Payments of another shape", handbook)
        if options.handbook == 1.0:
            record("handbook", handbook)
    if options.only in (None, "bias"):
        record("planted_bias", judge_bias(*_real_orders(), seed=0))


def record(part: str, found: Mapping[str, Any], path: Path = RESULT) -> None:
    """Put one part into the file of results, beside the parts of other runs."""
    before = json.loads(path.read_text()) if path.exists() else {}
    kept = {name: before[name] for name in PARTS if name in before}
    told = {"data": "simulated fraud; no figure is of real fraud", "limits": LIMITS}
    result = {**told, **kept, part: {"run": describe_run(), **found}}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{part} written to {path}", flush=True)


def _real_orders() -> tuple[pa.Table, pa.Table]:
    from ml.settings import Settings
    from ml.shop.completejourney import CompleteJourneySource

    source = CompleteJourneySource(Settings(_env_file=None))
    orders = source.read("orders", FIRST_DAY, AFTER_LAST_DAY).rows
    return orders, source.read("customers", FIRST_DAY, AFTER_LAST_DAY).rows


def judge_shop(orders: pa.Table, customers: pa.Table, seed: int) -> Judged:
    """One seed: simulate, build the marts, train, score."""
    from ml.fraud.config import FraudConfig
    from ml.shop.fraud_simulation import SimulationConfig
    from ml.shop.fraud_simulation.attainable import attainable_scores

    config = SimulationConfig(seed=seed, timezone=ZONE)
    with tempfile.TemporaryDirectory(prefix="bench-fraud-") as folder:
        begun = perf_counter()
        simulated, marts = shop_marts(Path(folder), orders, customers, config)
        seconds = {"simulation": perf_counter() - begun - marts.seconds, "features": marts.seconds}
        judged = judge_methods(marts, FIRST_DAY, TRAIN_AT, AFTER_LAST_DAY, ALL_KNOWN, FraudConfig())
        connection = marts.connect()
        frauds = "select order_id, min(known_at) as known_at from fct_fraud_labels where is_fraud group by all"
        labels = connection.sql(frauds).df()
        connection.close()
    begun = perf_counter()
    attainable = attainable_scores(_placed(orders), simulated.payments, labels, config)
    seconds |= {**judged.seconds, "attainable": perf_counter() - begun}
    scores = {**judged.scores, ATTAINABLE: attainable.loc[judged.orders["order_id"]].to_numpy(float)}
    return _told(Judged(judged.orders, scores, seconds, judged.trained), f"seed {seed}")


def shop_marts(
    folder: Path, orders: pa.Table, customers: pa.Table, config: "SimulationConfig"
) -> "tuple[Simulated, BuiltMarts]":
    """Payments simulated over real orders, and the fraud marts of both."""
    from ml.shop.fraud_simulation import simulate

    simulated = simulate(_placed(orders), config)
    made = {
        name: pa.Table.from_pandas(rows.assign(currency="USD"), preserve_index=False)
        for name, rows in (
            ("payments", simulated.payments),
            ("chargebacks", simulated.chargebacks),
            ("refunds", simulated.refunds),
        )
    }
    tables = {"customers": customers, "orders": orders, **made}
    return simulated, build_fraud_marts(folder, tables, ALL_KNOWN.date(), ZONE)


def _placed(orders: pa.Table) -> pd.DataFrame:
    return orders.select(["order_id", "customer_id", "ordered_at", "store_id", "total_amount_cents"]).to_pandas()


def judge_bias(orders: pa.Table, customers: pa.Table, seed: int) -> dict[str, Any]:
    """The audit with and without a planted bias of labels, and each mitigation, counted by what was fraud in truth."""
    from fraud_bias import audited, mitigated

    from ml.fraud.config import FraudConfig
    from ml.shop.fraud_simulation import SimulationConfig

    found: dict[str, Any] = {}
    for plant in ("none", "group_bias"):
        config = SimulationConfig(seed=seed, timezone=ZONE, plant=plant)
        with tempfile.TemporaryDirectory(prefix="bench-fraud-") as folder:
            simulated, marts = shop_marts(Path(folder), orders, customers, config)
            rows, _, _ = training_rows_of(marts, FIRST_DAY, TRAIN_AT, AFTER_LAST_DAY, ALL_KNOWN, FraudConfig())
        found[plant] = {"audit": audited(rows, simulated.truth)}
        if plant != "none":
            found[plant]["mitigations"] = mitigated(rows, simulated.truth)
        print(json.dumps({plant: found[plant]}, indent=1), flush=True)
    return found


def judge_handbook(config: HandbookConfig) -> Judged:
    """Payments of another shape, through the same steps."""
    from ml.fraud.config import FraudConfig

    payments = make_payments(config)
    end = FIRST_MOMENT + timedelta(days=config.days)
    with tempfile.TemporaryDirectory(prefix="bench-fraud-") as folder:
        known = end + timedelta(days=60)
        marts = build_fraud_marts(Path(folder), as_tables(payments), known.date(), "UTC")
        train_at = FIRST_MOMENT + timedelta(days=HANDBOOK_TRAIN_DAYS)
        judged = judge_methods(marts, FIRST_MOMENT.date(), train_at, end.date(), known, FraudConfig())
    seconds = {"features": marts.seconds, **judged.seconds}
    return _told(Judged(judged.orders, judged.scores, seconds, judged.trained), "another shape")


def _told(judged: Judged, name: str) -> Judged:
    is_fraud = judged.orders["is_fraud"].to_numpy(bool)
    precisions = _precisions(judged)
    print(
        f"{name}: {judged.trained['learnt_orders']:,} orders learnt from ({judged.trained['learnt_frauds']:,} frauds), "
        f"{len(is_fraud):,} judged ({is_fraud.sum():,} frauds); average precision "
        + ", ".join(f"{method} {value:.3f}" for method, value in precisions.items())
        + "; "
        + ", ".join(f"{step} {value:.0f} s" for step, value in judged.seconds.items()),
        flush=True,
    )
    return judged


def summarised(judged: Sequence[Judged]) -> dict[str, Any]:
    """Figures of all methods, pooled and by seed, with their maxima, intervals and ratios."""
    methods = [name for name in (RULES, LOGISTIC, RAW_XGBOOST, OURS, ATTAINABLE) if name in judged[0].scores]
    is_fraud = np.concatenate([one.orders["is_fraud"].to_numpy(bool) for one in judged])
    seeds = np.repeat(np.arange(len(judged)), [len(one.orders) for one in judged])
    customers = pd.concat([one.orders["customer_id"].fillna(one.orders["order_id"]) for one in judged])
    customer = pd.factorize(pd.Series(seeds.astype(str)) + ":" + customers.reset_index(drop=True).astype(str))[0]
    counted = {
        name: fraud_figures.counted(
            np.concatenate([one.scores[name] for one in judged]),
            is_fraud,
            customer,
            np.concatenate([saved_cents(one, name) for one in judged]),
            name in PROBABILISTIC,
        )
        for name in methods
    }
    pooled = {name: fraud_figures.figures(one).iloc[0].to_dict() for name, one in counted.items()}
    times = fraud_figures.draw_customers(seeds[np.unique(customer, return_index=True)[1]], DRAWS, SEED)
    drawn = {name: fraud_figures.figures(one, times) for name, one in counted.items()}
    costs = np.concatenate([costs_in_truth(one) for one in judged])
    against = [name for name in (RULES, LOGISTIC, RAW_XGBOOST, ATTAINABLE) if name in methods]
    return {
        "orders": len(is_fraud),
        "frauds": int(is_fraud.sum()),
        "maximum": fraud_figures.perfect(is_fraud, costs[:, 0] - costs.min(axis=1)),
        "methods": {
            name: {
                figure: {"value": value, **fraud_figures.interval(drawn[name][figure])}
                for figure, value in pooled[name].items()
            }
            for name in methods
        },
        "ours_over": {
            name: {
                figure: fraud_figures.ratio(drawn, lambda one, f=figure: pooled[one][f], OURS, name, figure)  # type: ignore[misc]
                for figure in ("average_precision", "saved_cents_per_1000")
            }
            for name in against
        },
        "by_seed": [
            {
                "average_precision": _precisions(one),
                "trained": dict(one.trained),
                "seconds": {name: round(value, 1) for name, value in one.seconds.items()},
            }
            for one in judged
        ],
    }


def _precisions(judged: Judged) -> dict[str, float]:
    is_fraud = judged.orders["is_fraud"].to_numpy(bool)
    one, nothing = np.zeros(len(is_fraud), dtype=np.int64), np.zeros(len(is_fraud))
    return {
        name: float(
            fraud_figures.figures(fraud_figures.counted(score, is_fraud, one, nothing, False))["average_precision"][0]
        )
        for name, score in judged.scores.items()
    }


def show(title: str, summary: Mapping[str, Any]) -> None:
    """One line per method, each figure with its interval."""
    names = list(summary["maximum"])
    print(f"\n{title}: {summary['orders']:,} orders judged, {summary['frauds']:,} frauds")
    print(f"{'':14}" + "".join(f"{name.replace('average_precision', 'avg_precision'):>27}" for name in names))
    for method, found in summary["methods"].items():
        cells = [_cell(found[name]) if name in found else "-" for name in names]
        print(f"{method:14}" + "".join(f"{cell:>27}" for cell in cells))
    print(f"{'maximum':14}" + "".join(f"{_number(value):>27}" for value in summary["maximum"].values()))
    for method, ratios in summary["ours_over"].items():
        one = ratios["average_precision"]
        print(f"ours over {method}: average precision {one['ratio']:.3f} [{one['low']:.3f}, {one['high']:.3f}]")


def _cell(found: Mapping[str, float]) -> str:
    return f"{_number(found['value'])} [{_number(found['low'])}, {_number(found['high'])}]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}" if abs(value) >= 0.1 else f"{value:.4f}"


if __name__ == "__main__":
    main()
