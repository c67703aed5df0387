"""
# Recommender train

## What
Builds a training set by point-in-time join, judges it at the model-input gate, trains a challenger, and compares it
with the champion on the same weeks. The champion moves, or does not, with every rule kept. A lost challenge is green.

## When and why then
Once a week, when all seven days (Monday to Sunday) of the features are there: a training label is what a customer
bought in a whole week. The key names the week by its Monday (`week-2017-11-13`). `shopwright up` starts the first one.

## Inputs and outputs
In: published marts and features up to the week's Sunday. Out: a training set, a model bundle, a promotion verdict,
the champion pointer.

## If it fails
The champion stays. `shopwright promotions` shows the last verdicts, `shopwright gates` what the input gate found.
See docs/runbooks/promotion_refused.md, gate_failed.md and task_failed.md.

## Owner
shop-data
"""

from airflow.sdk import dag, task
from dag_support import assets, defaults, shop_days, tags
from dag_support.steps import partition_day, run_step


@dag(
    schedule=shop_days.each_full_week_of(assets.FEATURES),
    start_date=shop_days.first_day(),
    catchup=False,
    max_active_runs=1,
    tags=[tags.WEEKLY, tags.MODEL],
    default_args=defaults.TASK_ARGS,
    doc_md=__doc__,
)
def recommender_train() -> None:
    @task
    def build_training_set() -> dict:
        from ml.cli import recommender

        return run_step(recommender.build_training_set, partition_day())

    @task
    def gate_training_set() -> dict:
        from ml.cli import recommender

        return run_step(recommender.gate_training_set, partition_day())

    @task
    def train_challenger() -> dict:
        from ml.cli import recommender

        return run_step(recommender.train_challenger, partition_day())

    @task
    def decide_promotion() -> dict:
        from ml.cli import recommender

        return run_step(recommender.decide_promotion, partition_day())

    build_training_set() >> gate_training_set() >> train_challenger() >> decide_promotion()


recommender_train()
