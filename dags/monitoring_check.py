"""
# Monitoring check

## What
Compares features and scores with the champion's training window (drift), and past recommendations with what was then
bought, by customer group (performance and bias); verifies the bytes of what is stored; makes the alias in MLflow follow
the published champion; looks at how old the proofs of the gates are; sends what alerts are waiting.

## When and why then
After each day of published recommendations.

## Inputs and outputs
In: everything published. Out: monitor states, JSON reports under `monitoring/`, incidents.

## If it fails
Nothing else stops. A state that could not be determined is `unknown` and alerts: docs/runbooks/drift.md,
performance.md, bias.md, scrub_failed.md, registry_mismatch.md, selftest_failed.md, delivery_failed.md.

## Owner
shop-data
"""

from airflow.sdk import dag, task
from dag_support import assets, defaults, shop_days, tags
from dag_support.steps import partition_day, run_step


@dag(
    schedule=shop_days.each_day_of(assets.RECOMMENDATIONS),
    start_date=shop_days.first_day(),
    catchup=False,
    max_active_runs=1,
    tags=[tags.DAILY, tags.WATCH],
    default_args=defaults.TASK_ARGS,
    doc_md=__doc__,
)
def monitoring_check() -> None:
    @task
    def check_drift() -> dict:
        from ml.cli import monitoring

        return run_step(monitoring.check_drift, partition_day())

    @task
    def check_performance() -> dict:
        from ml.cli import monitoring

        return run_step(monitoring.check_performance, partition_day())

    @task
    def scrub_stores() -> dict:
        from ml.cli import ingest

        return run_step(ingest.scrub_stores)

    @task
    def reconcile_registry() -> dict:
        from ml.cli import models

        return run_step(models.reconcile_registry, partition_day())

    @task
    def check_gate_proofs() -> dict:
        from ml.cli import gates

        return run_step(gates.check_gate_proofs, partition_day())

    @task
    def deliver_alerts() -> dict:
        from ml.cli import alerting

        return run_step(alerting.deliver_alerts)

    # A teardown runs whatever the checks found, and does not paint a failed run green as an all-done leaf would.
    delivery = deliver_alerts().as_teardown(on_failure_fail_dagrun=True)
    [check_drift(), check_performance(), scrub_stores(), reconcile_registry(), check_gate_proofs()] >> delivery


monitoring_check()
