"""
# Fraud labels ingest

## What
Takes in what has become known of past orders (chargebacks, refunds, analysts' verdicts, which the marts bring
together): measures how long labels take and whether they come in as usual, and closes review cases that a label has
settled or that nobody looked at for two weeks.

## When and why then
After each day of the marts, which hold the labels that were known by the day's end. Without payments there are no
labels, and the run is green with its task skipped.

## Inputs and outputs
In: the published marts, the review queue. Out: monitor states of the labels, incidents, cases closed.

## If it fails
Nothing else stops, but a flood of labels or silence where there were always some keeps new models from being promoted:
docs/runbooks/labels_suspect.md. Otherwise docs/runbooks/task_failed.md.

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
    tags=[tags.DAILY, tags.WATCH],
    default_args=defaults.TASK_ARGS,
    doc_md=__doc__,
)
def fraud_labels_ingest() -> None:
    @task
    def settle_labels() -> dict:
        from ml.cli import fraud

        return run_step(fraud.settle_labels, partition_day())

    settle_labels()


fraud_labels_ingest()
