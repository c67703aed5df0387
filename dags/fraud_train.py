"""
# Fraud train

## What
Builds a training set of orders with the labels that were known in time, judges it at the model-input gate, trains a
challenger, and compares it with the champion and all baselines on the same orders. The champion moves, or does not,
with every rule kept. A lost challenge is green. With no payments, too short a history or too few known frauds there is
nothing to learn yet: the tasks are skipped, and rules, lists and the stand-in go on deciding.

## When and why then
Once a week, when all seven days (Monday to Sunday) of the marts are there: labels come in over weeks, so a day more
changes little. The key names the week by its Monday (`week-2017-11-13`). `shopwright up` starts the first one.

## Inputs and outputs
In: published marts up to the week's Sunday (orders with their features, labels, past decisions). Out: a training set,
a model bundle, a promotion verdict, the champion pointer.

## If it fails
The champion stays. `shopwright promotions --product fraud` shows the last verdicts, `shopwright gates` what the input
gate found. See docs/runbooks/promotion_refused.md, gate_failed.md, labels_suspect.md and task_failed.md.

## Owner
shop-data
"""

from airflow.sdk import dag, task
from dag_support import assets, defaults, shop_days, tags
from dag_support.steps import partition_day, run_step


@dag(
    schedule=shop_days.each_full_week_of(assets.MARTS),
    start_date=shop_days.first_day(),
    catchup=False,
    max_active_runs=1,
    tags=[tags.WEEKLY, tags.MODEL],
    default_args=defaults.TASK_ARGS,
    doc_md=__doc__,
)
def fraud_train() -> None:
    @task
    def build_training_set() -> dict:
        from ml.cli import fraud

        return run_step(fraud.build_training_set, partition_day())

    @task
    def gate_training_set() -> dict:
        from ml.cli import fraud

        return run_step(fraud.gate_training_set, partition_day())

    @task
    def train_challenger() -> dict:
        from ml.cli import fraud

        return run_step(fraud.train_challenger, partition_day())

    @task
    def decide_promotion() -> dict:
        from ml.cli import fraud

        return run_step(fraud.decide_promotion, partition_day())

    build_training_set() >> gate_training_set() >> train_challenger() >> decide_promotion()


fraud_train()
