"""
# Recommender publish

## What
Scores every customer with the champion and publishes the lists as one version, with reason, model version and source.

## When and why then
After each day of the features. It waits for nothing else: the champion is read from its pointer, whoever trained it
and whenever. Before the first champion there is nothing to publish, and the run is green with its task skipped.

## Inputs and outputs
In: the published marts and features, the champion. Out: a published version of `recommendations/`, and in the online
store the rows that requests are ranked by (docs/adr/0004-one-row-per-customer.md).

## If it fails
The last published lists stay in use. A feature that changed under the champion refuses scoring until a retrain:
docs/runbooks/feature_changed.md. Otherwise docs/runbooks/task_failed.md.

## Owner
shop-data
"""

from airflow.sdk import dag, task
from dag_support import assets, defaults, shop_days, tags
from dag_support.steps import partition_day, run_step


@dag(
    schedule=shop_days.each_day_of(assets.FEATURES),
    start_date=shop_days.first_day(),
    catchup=False,
    max_active_runs=1,
    tags=[tags.DAILY, tags.MODEL],
    default_args=defaults.TASK_ARGS,
    doc_md=__doc__,
)
def recommender_publish() -> None:
    @task(outlets=[assets.RECOMMENDATIONS])
    def publish_recommendations() -> dict:
        from ml.cli import recommender

        return run_step(recommender.publish_recommendations, partition_day())

    publish_recommendations()


recommender_publish()
