import configparser
import json
import stat

import pytest

from ml.embedded.airflow_home import child_environment, write_configuration
from ml.embedded.layout import Layout, Ports
from ml.serving.keys import KeyRing, key_digest
from ml.settings import SCOPES


@pytest.fixture
def written(configure):
    settings = configure()
    layout = Layout(settings.shop_dir)
    write_configuration(layout, Ports(airflow=18080, mlflow=15000))
    parser = configparser.RawConfigParser()
    parser.read(layout.airflow_home / "airflow.cfg")
    return settings, layout, parser


def test_airflow_listens_on_loopback_and_tells_its_tasks_where(written):
    _settings, _layout, parser = written
    assert parser["api"]["host"] == "127.0.0.1"
    assert parser["api"]["port"] == "18080"
    assert parser["core"]["execution_api_server_url"] == "http://127.0.0.1:18080/execution/"


def test_secrets_are_made_once_and_only_the_owner_reads_them(written):
    _settings, layout, parser = written
    first = layout.secrets.read_bytes(), layout.passwords.read_bytes()
    write_configuration(layout, Ports(airflow=1, mlflow=2))
    assert (layout.secrets.read_bytes(), layout.passwords.read_bytes()) == first
    for path in (layout.secrets, layout.passwords, layout.airflow_home / "airflow.cfg"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    made = [*json.loads(first[0]).values(), *json.loads(first[1]).values()]
    assert len(set(made)) == 4
    assert min(map(len, made)) >= 32
    assert parser["api_auth"]["jwt_secret"] in made


def test_all_state_lies_under_the_shop_and_nothing_of_the_user_is_taken_over(written, monkeypatch):
    settings, layout, _parser = written
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", "/elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    environment = child_environment(settings, layout, Ports(airflow=18080, mlflow=15000))
    for name in ("HOME", "AIRFLOW_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        assert environment[name].startswith(str(settings.shop_dir)), name
    assert "AIRFLOW__CORE__DAGS_FOLDER" not in environment
    assert "MLFLOW_TRACKING_URI" not in environment
    assert environment["SHOPWRIGHT_MLFLOW_TRACKING_URI"] == "http://127.0.0.1:15000"
    assert environment["SHOPWRIGHT_STATE_DIR"] == str(settings.shop_dir.parent)


def test_nobody_is_phoned(written):
    settings, layout, parser = written
    environment = child_environment(settings, layout, Ports(airflow=1, mlflow=2))
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert parser["usage_data_collection"]["enabled"] == "False"


def test_the_key_to_the_api_is_made_once_kept_from_others_and_handed_on_as_its_digest(written, configure):
    settings, layout, _parser = written
    environment = child_environment(settings, layout, Ports(airflow=1, mlflow=2, serving=3))
    key = layout.api_key.read_text().strip()
    assert len(key) >= 32
    assert stat.S_IMODE(layout.api_key.stat().st_mode) == 0o600
    assert key not in "".join(environment.values())
    caller = KeyRing(json.loads(environment["SHOPWRIGHT_API_KEYS"])).caller_of(key)
    assert (caller.name, caller.scopes) == ("embedded", set(SCOPES))
    assert environment["SHOPWRIGHT_SERVING_PORT"] == "3"
    own = {"shop": f"{key_digest('another')} events:write"}
    again = child_environment(configure(api_keys=json.dumps(own)), layout, Ports(airflow=1, mlflow=2, serving=3))
    assert json.loads(again["SHOPWRIGHT_API_KEYS"]) == own | json.loads(environment["SHOPWRIGHT_API_KEYS"])
    assert layout.api_key.read_text().strip() == key
