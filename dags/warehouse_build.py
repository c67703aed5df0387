"""
# Warehouse build

## What
Builds every dbt model from `raw` up to the run's day in a scratch DuckDB file, judges the marts, and publishes them as
one version by moving a pointer. Readers never see the DuckDB file.

## When and why then
After each day of `raw`. A build for a day older than what is published rebuilds the newest published day, so that a
backfill in any order ends in the same state.

## Inputs and outputs
In: batches of `raw` up to the run's day.
Out: a published version of the marts and of the feature tables in them.

## If it fails
The last published version stays in use. `shopwright gates` names the mart and the rule; the dbt log lies in
`dbt/logs/` under the shop's state folder. Mend the model or the data and clear the run.
See docs/runbooks/gate_failed.md and docs/runbooks/task_failed.md.

## Owner
shop-data
"""

from airflow.sdk import dag, task
from dag_support import assets, defaults, shop_days, tags
from dag_support.steps import partition_day, run_step


@dag(
    schedule=shop_days.each_day_of(assets.RAW),
    start_date=shop_days.first_day(),
    catchup=False,
    max_active_runs=1,
    tags=[tags.DAILY, tags.DATA],
    default_args=defaults.TASK_ARGS,
    doc_md=__doc__,
)
def warehouse_build() -> None:
    @task(pool=defaults.WAREHOUSE_POOL)
    def build_models() -> dict:
        from ml.cli import warehouse

        return run_step(warehouse.build_models, partition_day())

    @task(pool=defaults.WAREHOUSE_POOL)
    def gate_marts() -> dict:
        from ml.cli import warehouse

        return run_step(warehouse.gate_marts, partition_day())

    @task(pool=defaults.WAREHOUSE_POOL, outlets=[assets.MARTS])
    def publish_marts() -> dict:
        from ml.cli import warehouse

        return run_step(warehouse.publish_marts, partition_day())

    build_models() >> gate_marts() >> publish_marts()


warehouse_build()
