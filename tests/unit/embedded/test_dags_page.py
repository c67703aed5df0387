from ml.embedded.airflow_home import DAGS_DIR
from ml.embedded.dags_page import PAGE, render_page


def test_the_page_is_what_the_dags_say():
    assert PAGE.read_text() == render_page(), "run `make docs`"


def test_every_dag_is_on_it():
    dag_ids = [path.stem for path in DAGS_DIR.glob("*.py")]
    assert dag_ids
    assert [dag_id for dag_id in dag_ids if f"(`{dag_id}`)" not in render_page()] == []
