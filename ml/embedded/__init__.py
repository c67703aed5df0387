"""The one-machine profile: Airflow, MLflow and the watch as processes on loopback, with all state in one folder."""
