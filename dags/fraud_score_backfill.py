"""
# Fraud score backfill

## What
Decides the orders of the day, and of the six days before it, that have no decision yet: scored by the champion,
decided by the policy in force, explained, logged, with a case to review where the policy asks for one. An order that
was decided keeps its decision. Feeds what the source delivered to the state of fraud features that the API decides by.
Then compares what was scored lately with what the champion was trained on (drift), and
scores whose labels have matured with what became known (performance).

## When and why then
After each day of the marts: what was decided at the checkout is there already, and what no checkout decided, because it
came by file or while scoring was down, is made up for before the next day comes. Without payments there is nothing to
decide, and the run is green with its tasks skipped; so it is while the history waits for its first training.

## Inputs and outputs
In: the published marts, the champion, the policy and lists in force. Out: decisions, review cases, hits of rules, what
policies in shadow would have done, a published version of `fraud_scores/`, monitor states, events in the serving log.

## If it fails
Orders wait for their decision and are decided by the next run, up to six days later. A feature that changed under the
champion refuses scoring until a retrain: docs/runbooks/feature_changed.md. A check that could not be made is `unknown`
and alerts: docs/runbooks/drift.md, performance.md. Otherwise docs/runbooks/task_failed.md.

## Owner
shop-data
"""

from airflow.sdk import dag, task
from dag_support import assets, defaults, shop_days, tags
from dag_support.steps import partition_day, run_step


@dag(
    schedule=shop_days.each_day_of(assets.MARTS),
    start_date=shop_days.first_day(),
    catchup=False,
    max_active_runs=1,
    tags=[tags.DAILY, tags.MODEL],
    default_args=defaults.TASK_ARGS,
    doc_md=__doc__,
)
def fraud_score_backfill() -> None:
    @task
    def score_orders() -> dict:
        from ml.cli import fraud

        return run_step(fraud.score_orders, partition_day())

    @task
    def check_drift() -> dict:
        from ml.cli import monitoring

        return run_step(monitoring.check_drift, partition_day(), monitoring.FRAUD)

    @task
    def check_performance() -> dict:
        from ml.cli import monitoring

        return run_step(monitoring.check_performance, partition_day(), monitoring.FRAUD)

    @task
    def feed_state() -> dict:
        from ml.cli import fraud

        return run_step(fraud.feed_state, partition_day())

    feed_state()
    score_orders() >> [check_drift(), check_performance()]


fraud_score_backfill()
