"""Airflow's home for the one-machine profile: its configuration file, written anew at each start."""

import configparser
import io
import json
import os
from typing import Any

from ml.embedded.layout import AIRFLOW_USER, LOOPBACK, Layout, Ports, api_key_grant, read_or_make_secrets
from ml.settings import PREFIX, PROJECT_DIR, Settings
from ml.stores.durable import write_durably

DAGS_DIR = PROJECT_DIR / "dags"

# How long a writer waits for the one SQLite file that scheduler, API server and DAG processor share.
SQLITE_CONNECT_ARGS: dict[str, Any] = {"timeout": 60}

SWITCHED_OFF = {
    "DO_NOT_TRACK": "1",
    "SCARF_ANALYTICS": "false",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
    "GX_ANALYTICS_ENABLED": "false",
    "FEAST_USAGE": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a queue of background jobs that nothing here uses
}
"""Environment of whatever we start: no telemetry."""


def write_configuration(layout: Layout, ports: Ports) -> None:
    """Write `airflow.cfg`, so that `AIRFLOW_HOME=<home> airflow ...` by hand sees the same installation.

    It holds secrets, and only the owner can read it.
    """
    made = read_or_make_secrets(layout)
    connect_args = f"{__name__}.SQLITE_CONNECT_ARGS"
    sections: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": DAGS_DIR,
            "load_examples": False,
            "executor": "LocalExecutor",
            # With the default of 32, SQLite's one writer made tasks fail falsely (1 of 3 fan-out runs, 2026-11).
            "parallelism": 4,
            "dags_are_paused_at_creation": False,
            "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            "simple_auth_manager_users": f"{AIRFLOW_USER}:admin",
            "simple_auth_manager_passwords_file": layout.passwords,
            "fernet_key": made["fernet"],
            # Without it, a task on another port than 8080 dies with "connection refused".
            "execution_api_server_url": f"{ports.airflow_url}/execution/",
        },
        "database": {
            "sql_alchemy_conn": f"sqlite:///{layout.airflow_home / 'airflow.db'}",
            "sql_alchemy_connect_args": connect_args,
            "load_default_connections": False,
        },
        "api": {
            "host": LOOPBACK,
            "port": ports.airflow,
            "base_url": ports.airflow_url,
            "workers": 1,
            "secret_key": made["api"],
            "expose_config": False,
        },
        "api_auth": {"jwt_secret": made["jwt"]},
        "dag_processor": {"parsing_processes": 1, "refresh_interval": 20, "min_file_process_interval": 30},
        "scheduler": {
            "scheduler_idle_sleep_time": 0.2,
            # A task whose supervisor died is noticed after this long (the default is 300).
            "task_instance_heartbeat_timeout": 60,
            "orphaned_tasks_check_interval": 30,
        },
        "logging": {
            "base_log_folder": layout.airflow_home / "logs",
            "colored_console_log": False,
            # Great Expectations tells at level info of each method that it does not document: 200 lines a task.
            "namespace_levels": "great_expectations=warning",
        },
        "usage_data_collection": {"enabled": False},
    }
    parser = configparser.RawConfigParser()
    parser.read_dict({section: {key: str(value) for key, value in body.items()} for section, body in sections.items()})
    text = io.StringIO()
    parser.write(text)
    write_durably(layout.airflow_home / "airflow.cfg", text.getvalue().encode())


def child_environment(settings: Settings, layout: Layout, ports: Ports) -> dict[str, str]:
    """The environment of every process of the profile: state under one folder, no telemetry, no user's home."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW", "MLFLOW"))
    }
    layout.home.mkdir(parents=True, exist_ok=True)
    return {
        **inherited,
        **SWITCHED_OFF,
        "HOME": str(layout.home),
        "XDG_CACHE_HOME": str(layout.home / ".cache"),
        "XDG_CONFIG_HOME": str(layout.home / ".config"),
        "AIRFLOW_HOME": str(layout.airflow_home),
        "PYTHONUNBUFFERED": "1",
        f"{PREFIX}STATE_DIR": str(settings.shop_dir.parent),
        f"{PREFIX}MLFLOW_TRACKING_URI": ports.mlflow_url,
        f"{PREFIX}AIRFLOW_API_URL": ports.airflow_url,
        f"{PREFIX}SERVING_PORT": str(ports.serving),
        f"{PREFIX}API_KEYS": json.dumps({**settings.api_keys, **api_key_grant(layout)}),
    }
