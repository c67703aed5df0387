"""
# Gates selftest

## What
Feeds every gate bad input, one of each kind of rule, in an isolated copy of a small generated shop, by the other DAGs'
own tasks, and sees that nothing after the gate runs and nothing is published. Each gate is also switched off once:
then its proof has to fail. The real shop's data, settings and alerts are not touched.

## When and why then
At four o'clock on Monday mornings of the shop, when little else runs: a gate that lets bad data through is noticed
within a week. A run that comes more than an hour late (the machine was off) is left out, so that starting the platform
never starts it. A replayed shop's is started by hand only. By hand it needs no partition key.

## Inputs and outputs
In: the code, the DAGs, the dbt project. Out: a proof per gate and bad input in the operational record,
`reports/selftest.html`, the child processes' output under `selftest/`.

## If it fails
A gate does not block, or could not be tried: docs/runbooks/selftest_failed.md. `shopwright gates selftest --show` tells
which. Nothing else stops.

## Owner
shop-data
"""

from airflow.sdk import dag, task
from dag_support import defaults, shop_days, tags
from dag_support.steps import run_step, skip_when_late


@dag(
    schedule=shop_days.each_monday_morning(),
    start_date=shop_days.first_scheduled_run(),
    end_date=shop_days.after_last_day(),
    catchup=False,
    max_active_runs=1,
    tags=[tags.WEEKLY, tags.WATCH],
    default_args=defaults.TASK_ARGS,
    doc_md=__doc__,
)
def gates_selftest() -> None:
    @task
    def prove_gates() -> dict:
        from ml.cli.selftest import steps

        skip_when_late()
        return run_step(steps.prove)

    prove_gates()


gates_selftest()
