"""The production stack exposes nothing that need not be, nobody in it is root, and everything is bounded."""

from pathlib import Path

import pytest
import yaml

from ml.cli.serve import serve

COMPOSE = yaml.safe_load((Path(__file__).resolve().parents[2] / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]


def test_only_airflow_mlflow_and_the_api_are_published_and_only_on_loopback():
    published = {name: service["ports"] for name, service in SERVICES.items() if service.get("ports")}
    assert set(published) == {"airflow-api", "mlflow", "serving"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_bounded_and_unprivileged(name):
    service = SERVICES[name]
    assert service["user"] not in ("root", "0")
    assert service["deploy"]["resources"]["limits"].keys() >= {"cpus", "memory"}
    assert service["cap_drop"] == ["ALL"]
    assert "healthcheck" in service
    assert not service.get("privileged")
    assert service.get("network_mode") != "host"
    assert not service["image"].endswith(":latest")
    assert ":" in service["image"]


def test_the_watch_finds_the_passwords_that_airflow_writes():
    from ml.embedded.layout import Layout

    environment = SERVICES["airflow-api"]["environment"]
    layout = Layout(Path(environment["SHOPWRIGHT_STATE_DIR"]) / "${SHOPWRIGHT_SHOP_ID:-completejourney}")
    assert environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"] == str(layout.passwords)
    assert environment["AIRFLOW_HOME"] == str(layout.passwords.parent)
    assert SERVICES["watch"]["environment"] == environment


def test_no_secret_has_a_default():
    text = (Path(__file__).resolve().parents[2] / "docker-compose.yml").read_text()
    for secret in ("POSTGRES_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET", "AIRFLOW_API_SECRET"):
        assert f"${{{secret}:?" in text


def test_mlflow_is_started_with_the_options_of_the_embedded_profile(tmp_path):
    from ml.embedded.layout import Layout, Ports
    from ml.embedded.stack import mlflow_arguments

    embedded = mlflow_arguments(Layout(tmp_path), Ports(airflow=8080, mlflow=5000))
    options = {part for part in embedded if part.startswith("--")}
    assert {part for part in SERVICES["mlflow"]["command"] if part.startswith("--")} == options


def test_what_reads_the_shops_settings_gets_them_and_can_reach_its_source_and_its_alerts():
    for name in ("airflow-scheduler", "watch", "freshness", "follower", "serving"):
        assert SERVICES[name]["env_file"] == [{"path": ".env", "required": False}]
        assert "front" in SERVICES[name]["networks"], f"{name} has a way out of the internal network"
    assert SERVICES["airflow-dag-processor"]["env_file"], "the schedule follows from the shop's settings"
    assert COMPOSE["networks"]["internal"]["internal"]
    assert not (COMPOSE["networks"]["front"] or {}).get("internal")


@pytest.mark.parametrize("name", ["serving", "follower"])
def test_the_api_and_its_follower_wait_for_nothing_that_may_be_down(name):
    assert "depends_on" not in SERVICES[name]
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_the_api_is_started_with_options_that_it_has():
    program, command, *options = SERVICES["serving"]["command"]
    assert (program, command) == ("shopwright", "serve")
    serve.make_context("serve", [*options])  # raises for one that it does not know
    assert SERVICES["serving"]["ports"] == [f"127.0.0.1:{options[-1]}:{options[-1]}"]


def test_freshness_is_judged_without_anything_else_running():
    assert SERVICES["freshness"]["command"] == ["shopwright", "freshness", "--watch"]
    assert "depends_on" not in SERVICES["freshness"]
