"""How things are computed: plain Python that knows neither Airflow nor the DAGs."""
