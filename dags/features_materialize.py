"""
# Features materialize

## What
Applies the feature definitions when they changed, writes the newest feature values to the online store, and checks that
sampled entities read online equal their offline value. One task, because the feature registry has one writer.

## When and why then
After each day of the marts. An older day than the newest one materialized changes nothing online (watermark).

## Inputs and outputs
In: the published marts. Out: the online store, the feature registry, the watermark.

## If it fails
Online values stay those of the day before; their age shows on read. See docs/runbooks/parity_failed.md and
docs/runbooks/task_failed.md.

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
    tags=[tags.DAILY, tags.DATA],
    default_args=defaults.TASK_ARGS,
    doc_md=__doc__,
)
def features_materialize() -> None:
    @task(pool=defaults.FEATURE_STORE_POOL, outlets=[assets.FEATURES])
    def materialize_features() -> dict:
        from ml.cli import features

        return run_step(features.materialize_features, partition_day())

    materialize_features()


features_materialize()
