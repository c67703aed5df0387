"""Writes docs/dags.md from the DAG files' docstrings: `python -m ml.embedded.dags_page`."""

import ast

from ml.embedded.airflow_home import DAGS_DIR
from ml.embedded.chain import DAY_CHAIN, FRAUD_LABELS, FRAUD_SCORE, FRAUD_TRAIN, SELFTEST, TRAIN
from ml.settings import PROJECT_DIR

PAGE = PROJECT_DIR / "docs" / "dags.md"

_INTRODUCTION = """# The DAGs

Written by `make docs` from the files in `dags/`; do not edit. The same pages stand in Airflow's own UI.

Stages are chained by assets, and every run has a partition key: the shop's day, or the week named by its Monday.

```
shop_ingest -raw-> warehouse_build -marts-> features_materialize -features-> recommender_publish -> monitoring_check
                                                                 -features-> recommender_train (a full week)
                             -marts-> fraud_score_backfill
                             -marts-> fraud_labels_ingest
                             -marts-> fraud_train (a full week)
gates_selftest (by itself, Monday mornings)
```

By hand: start `shop_ingest` with a partition key (in the UI or by the REST API), or load many days in any order with
`AIRFLOW_HOME=var/<shop_id>/airflow .venv/bin/airflow backfill create --dag-id shop_ingest --from-date 2017-11-20
--to-date 2017-11-29`. Running a key again changes nothing.
"""


def render_page() -> str:
    """The whole page as Markdown."""
    return "\n".join(
        [
            _INTRODUCTION,
            *(_section(dag_id) for dag_id in (*DAY_CHAIN, TRAIN, FRAUD_SCORE, FRAUD_LABELS, FRAUD_TRAIN, SELFTEST)),
        ]
    )


def _section(dag_id: str) -> str:
    page = ast.get_docstring(ast.parse((DAGS_DIR / f"{dag_id}.py").read_text())) or ""
    lines = [f"#{line}" if line.startswith("#") else line for line in page.splitlines()]
    return "\n".join([f"{lines[0]} (`{dag_id}`)", *lines[1:], ""])


if __name__ == "__main__":
    PAGE.write_text(render_page())
