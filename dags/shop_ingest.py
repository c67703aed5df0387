"""
# Shop ingest

## What
Lands the days of one run as an immutable batch per table, and judges every batch at the arrival gate: rules about
single rows set rows aside in quarantine, rules about a whole batch hold it. What passes is published to `raw`.

## When and why then
At each midnight of the shop, for the day that has just ended; days on which the machine was off are made up for, from
the day after the bootstrap on. A replayed shop's days are started by trigger or by
backfill: the DAG's `end_date` lies after the source's last day, so no run of its own starts. The first run of a shop
is its bootstrap: its key is the last day of history, and `first_day` says where to begin.

## Inputs and outputs
In: the shop's source, days `first_day` (default: the run's own day) to the run's day.
Out: batches under `landing/`, the published version of `raw`, rows in `quarantine/`, one verdict per table and batch.

## If it fails
`shopwright gates` names the table and the rule; `shopwright quarantine list` the rows. Nothing of the day is published
when a required table fails. Mend the source and clear the run: the same days landed twice change nothing.
See docs/runbooks/gate_failed.md and docs/runbooks/task_failed.md.

## Owner
shop-data
"""

from datetime import date

from airflow.sdk import Param, dag, get_current_context, task
from dag_support import assets, defaults, shop_days, tags
from dag_support.steps import partition_day, run_step


@dag(
    schedule=shop_days.each_day(),
    start_date=shop_days.first_scheduled_run(),
    end_date=shop_days.after_last_day(),
    catchup=shop_days.is_live(),
    max_active_runs=1,
    tags=[tags.DAILY, tags.DATA],
    default_args=defaults.TASK_ARGS,
    doc_md=__doc__,
    params={
        "first_day": Param(
            None, type=["null", "string"], format="date", description="First day to land; empty for the run's own day."
        )
    },
)
def shop_ingest() -> None:
    @task
    def land_days() -> dict:
        from ml.cli import ingest

        last = partition_day()
        first = get_current_context()["params"]["first_day"]
        return run_step(ingest.land_days, date.fromisoformat(first) if first else last, last)

    @task(outlets=[assets.RAW])
    def gate_arrivals() -> dict:
        from ml.cli import ingest

        return run_step(ingest.gate_arrivals, partition_day())

    land_days() >> gate_arrivals()


shop_ingest()
