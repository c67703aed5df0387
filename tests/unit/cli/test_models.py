from collections.abc import Callable
from datetime import date

import pytest
from click.testing import CliRunner

from ml.cli.models import promotions, reconcile_registry, rollback
from ml.settings import Settings
from ml.stores import registry
from ml.stores.bundles import save_bundle
from ml.stores.operations import Operations, incidents
from ml.stores.operations import promotions as promotions_table

DAY = date(2017, 11, 19)


@pytest.fixture
def settings(configure: Callable[..., Settings]) -> Settings:
    return configure()


def _promote(settings: Settings, decay: float) -> str:
    manifest = {"kind": "baseline", "trained_partition": "2017-11-19", "config": {"recency_decay": decay}}
    version = save_bundle(settings, "recommender", manifest, {"model.json": b"{}"}).version
    registry.promote(settings, "recommender", version, DAY)
    return version


def test_promotions_shows_every_rule_with_value_and_threshold(settings: Settings) -> None:
    Operations.from_settings(settings).record_promotion(
        product="recommender",
        challenger="recommender-2017-11-19-aaaaaaaa",
        champion="recommender-2017-11-12-bbbbbbbb",
        partition="2017-11-19",
        verdict="refused",
        rules=[{"rule": "ndcg_gain_lower_end", "status": "failed", "observed": -0.00123456, "threshold": 0.0}],
        metrics={},
    )
    result = CliRunner().invoke(promotions)
    assert result.exit_code == 0
    first, *_, rule = result.output.strip().splitlines()
    assert first == ("2017-11-19  recommender-2017-11-19-aaaaaaaa against recommender-2017-11-12-bbbbbbbb: refused")
    assert rule.split() == ["ndcg_gain_lower_end", "failed", "-0.001235", "0"]


def test_promotions_says_so_when_nothing_was_decided(settings: Settings) -> None:
    assert CliRunner().invoke(promotions).output == "no promotion was decided yet\n"


def test_rollback_tells_from_and_to_and_records_it(settings: Settings) -> None:
    old, new = _promote(settings, 0.7), _promote(settings, 0.8)
    result = CliRunner().invoke(rollback, ["recommender"])
    assert result.output.splitlines()[0] == f"recommender: champion was {new}, is {old}"
    (row,) = Operations.from_settings(settings).rows(promotions_table)
    assert (row["challenger"], row["champion"], row["verdict"]) == (old, new, "rolled_back")
    assert row["partition"] == "2017-11-19"


def test_a_difference_from_mlflow_opens_an_incident_and_agreement_closes_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _promote(settings, 0.7)
    answers = [["MLflow's champion was not set; repaired"], []]
    monkeypatch.setattr(registry, "reconcile", lambda _settings, _product: answers.pop(0))
    found = reconcile_registry(DAY)["differences"]
    assert found == {"recommender": ["MLflow's champion was not set; repaired"]}
    operations = Operations.from_settings(settings)
    (incident,) = operations.rows(incidents, kind="registry_mismatch")
    assert (incident["object"], incident["state"]) == ("recommender", "open")
    reconcile_registry(DAY)
    (incident,) = operations.rows(incidents, kind="registry_mismatch")
    assert incident["state"] == "closed"
