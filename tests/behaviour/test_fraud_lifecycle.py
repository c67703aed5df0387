"""Fraud's steps on marts made by hand: trained, decided, scored; run again, changed, flooded with labels."""

import json
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from ml.cli import fraud, monitoring
from ml.cli.promotion import challenge_path
from ml.fraud.policy_file import DEFAULT_POLICY, read_policy
from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings, get_settings
from ml.stores import registry
from ml.stores.bundles import REFERENCE
from ml.stores.fraud_tables import decisions, review_cases, rule_hits, shadow_decisions
from ml.stores.operations import Operations, gate_verdicts, incidents, monitor_states, promotions
from ml.stores.policies import change_state, submit_policy
from tests import fraud_marts

FIRST_DAY = date(2024, 1, 1)
LAST_DAY = date(2024, 4, 7)  # a Sunday
NEXT_DAY = LAST_DAY + timedelta(days=1)
STEPS = ("settle_labels", "build_training_set", "gate_training_set", "train_challenger", "decide_promotion")


def _use(patch: pytest.MonkeyPatch, state: Path, **others: object) -> Settings:
    values = {
        "state_dir": state,
        "shop_id": "smallshop",
        "source": "files",
        "files_dir": state,
        "timezone": "UTC",
        "first_day": FIRST_DAY,
        "bootstrap_day": LAST_DAY,
        "last_day": LAST_DAY + timedelta(days=60),
        "simulate_payments": True,
    }
    for name, value in {**values, **others}.items():
        patch.setenv(f"SHOPWRIGHT_{name.upper()}", str(value))
    get_settings.cache_clear()
    return get_settings()


@pytest.fixture(scope="module")
def orders() -> pd.DataFrame:
    return fraud_marts.orders(FIRST_DAY, 105, 40, 0.04)


@pytest.fixture(scope="module")
def trained(
    orders: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, dict[str, Any]]]]:
    """State folder after all steps, with what each step returned."""
    state = tmp_path_factory.mktemp("fraud") / "var"
    with pytest.MonkeyPatch.context() as patch:
        settings = _use(patch, state)
        fraud_marts.publish(settings, orders, LAST_DAY)
        done = {name: getattr(fraud, name)(LAST_DAY) for name in STEPS}
    yield state, done
    get_settings.cache_clear()


@pytest.fixture
def settings(trained: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The trained shop's state, copied, so that a test may change it."""
    shutil.copytree(trained[0], tmp_path / "var")
    return _use(monkeypatch, tmp_path / "var")


@pytest.fixture
def done(trained: tuple[Path, dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    return trained[1]


@pytest.fixture
def operations(settings: Settings) -> Operations:
    return Operations.from_settings(settings)


def _open_kinds(operations: Operations) -> set[tuple[str, str]]:
    return {(row["kind"], row["object"]) for row in operations.rows(incidents, state="open")}


def test_the_training_set_keeps_to_time_and_says_that_payments_are_simulated(done: dict[str, dict[str, Any]]) -> None:
    built = done["build_training_set"]
    split = built["split"]
    assert built["payments"] == "simulated"
    assert split["train_first"] < split["calibration_first"] < split["train_until"] < split["test_first"]
    assert split["test_until"] < LAST_DAY.isoformat()  # the newest orders are too young to judge by
    assert min(built["frauds"].values()) >= 20


def test_the_first_champion_is_the_best_baseline_and_the_trees_its_challenger(
    operations: Operations, settings: Settings, done: dict[str, dict[str, Any]]
) -> None:
    first, challenge = operations.rows(promotions, product="fraud")
    metrics = done["train_challenger"]["metrics"]
    assert set(metrics) == {"rates", "logistic", "trees"}
    best = max(("rates", "logistic"), key=lambda name: metrics[name]["average_precision"])
    manifest = json.loads((settings.shop_dir / "models/fraud" / first["challenger"] / "manifest.json").read_text())
    assert (first["champion"], manifest["kind"], manifest["name"]) == (None, "baseline", best)
    assert manifest["payments"] == "simulated"
    assert (challenge["champion"], challenge["challenger"]) == (
        first["challenger"],
        done["train_challenger"]["challenger"],
    )
    assert {rule["status"] for rule in challenge["rules"]} <= {"passed", "failed"}


def test_training_again_gives_the_same(settings: Settings, done: dict[str, dict[str, Any]]) -> None:
    assert fraud.build_training_set(LAST_DAY)["version"] == done["build_training_set"]["version"]
    assert fraud.train_challenger(LAST_DAY)["challenger"] == done["train_challenger"]["challenger"]


def test_nothing_is_trained_on_a_set_that_the_gate_has_not_passed(operations: Operations) -> None:
    with operations.transaction() as connection:
        connection.execute(gate_verdicts.update().values(status="failed"))
    with pytest.raises(DataFailed, match="has not passed the model-input gate"):
        fraud.train_challenger(LAST_DAY)


def test_without_payments_every_step_has_nothing_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _use(monkeypatch, tmp_path / "var")
    fraud_marts.publish(settings, fraud_marts.orders(FIRST_DAY, 0, 0, 0.0), LAST_DAY)
    for step in (fraud.build_training_set, fraud.score_orders, fraud.settle_labels):
        assert step(LAST_DAY)["skipped"] == "the shop has no payments"


def test_too_few_known_frauds_and_too_short_a_history_are_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _use(monkeypatch, tmp_path / "var")
    fraud_marts.publish(settings, fraud_marts.orders(LAST_DAY - timedelta(days=179), 180, 4, 0.01), LAST_DAY)
    assert "frauds are known" in fraud.build_training_set(LAST_DAY)["skipped"]
    fraud_marts.publish(settings, fraud_marts.orders(LAST_DAY - timedelta(days=9), 10, 40, 0.05), LAST_DAY)
    assert "old enough to learn from" in fraud.build_training_set(LAST_DAY)["skipped"]
    assert registry.champion(settings, "fraud") is None


def test_history_waits_for_the_first_model_and_later_days_have_the_stand_in(
    orders: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _use(monkeypatch, tmp_path / "var")
    fraud_marts.publish(settings, orders, NEXT_DAY)
    assert fraud.score_orders(LAST_DAY)["skipped"] == "history waits for the first model"
    scored = fraud.score_orders(NEXT_DAY)
    assert (scored["model_version"], scored["rows"]) == (None, 40)
    assert "model" not in scored["sources"]
    assert monitoring.check_drift(NEXT_DAY, "fraud")["state"] == "unknown"
    operations = Operations.from_settings(settings)
    assert ("drift", "fraud") not in _open_kinds(operations)  # nobody could have expected a comparison


def test_a_week_is_decided_explained_and_kept_and_again_changes_nothing(
    settings: Settings, operations: Operations
) -> None:
    scored = fraud.score_orders(LAST_DAY)
    assert scored["rows"] == 7 * 40
    kept = operations.rows(decisions)
    assert len(kept) == 7 * 40
    by_model = [row for row in kept if row["score"] is not None]
    assert len(by_model) == len(kept)
    assert all(row["model_version"] == scored["model_version"] for row in kept)
    assert {row["decided_at"] for row in kept} == {settings.shop_clock(LAST_DAY)}
    to_review = {row["order_id"] for row in kept if row["action"] == "review"}
    assert {row["order_id"] for row in operations.rows(review_cases)} == to_review
    assert to_review
    explained = max(kept, key=lambda row: row["score"])
    margin = sum(explained["contributions"].values())
    assert 1 / (1 + pow(2.718281828459045, -margin)) == pytest.approx(explained["score"], abs=1e-6)
    assert explained["reasons"]
    hits = len(operations.rows(rule_hits))
    again = fraud.score_orders(LAST_DAY)
    assert (again["rows"], again["decided_before"], again["version"]) == (0, 7 * 40, scored["version"])
    assert operations.rows(decisions) == kept
    assert len(operations.rows(rule_hits)) == hits


def test_a_policy_in_shadow_decides_beside_and_changes_nothing(settings: Settings, operations: Operations) -> None:
    body = (
        DEFAULT_POLICY.read_text()
        .replace("name: default", "name: strict")
        .replace("review_cents: 300", "review_cents: 1")
    )
    version = read_policy(body, "strict.yml").version
    submit_policy(operations, version=version, body=body, by="ann")
    change_state(operations, version=version, to="shadow", reason="try", by="ann")
    fraud.score_orders(LAST_DAY)
    assert {row["policy_version"] for row in operations.rows(shadow_decisions)} == {version}
    assert version not in {row["policy_version"] for row in operations.rows(decisions)}
    assert len(operations.rows(shadow_decisions)) == len(operations.rows(decisions))


def test_a_feature_that_changed_under_the_champion_refuses_scoring(
    settings: Settings, operations: Operations, orders: pd.DataFrame
) -> None:
    fraud_marts.publish(settings, orders, LAST_DAY, changes={"feat_order_risk": "risk-2"})
    with pytest.raises(DataFailed, match="changed since"):
        fraud.score_orders(LAST_DAY)
    assert operations.rows(decisions) == []
    assert ("feature_changed", "fraud") in _open_kinds(operations)
    fraud_marts.publish(settings, orders, LAST_DAY)
    fraud.score_orders(LAST_DAY)
    assert ("feature_changed", "fraud") not in _open_kinds(operations)


def test_a_flood_of_labels_alerts_and_keeps_the_champion(
    settings: Settings, operations: Operations, orders: pd.DataFrame
) -> None:
    """Every order of the last weeks turns out to be fraud, all at once."""
    newest = orders[pd.to_datetime(orders["attempt_date"]) > pd.Timestamp(LAST_DAY - timedelta(days=30))]
    moment = pd.Timestamp(settings.shop_clock(LAST_DAY)) - pd.Timedelta(hours=3)
    flood = fraud_marts.fraud_labels(newest.assign(is_fraud=True), 0).assign(
        known_at=moment, label_id=lambda rows: "f" + rows["order_id"]
    )
    labels = pd.concat([fraud_marts.fraud_labels(orders, 5), flood], ignore_index=True)
    fraud_marts.publish(settings, orders, LAST_DAY, labels=labels)
    assert fraud.settle_labels(LAST_DAY)["state"] == "alert"
    assert ("labels_suspect", "fraud") in _open_kinds(operations)

    before = registry.champion(settings, "fraud")
    assert before is not None
    path = challenge_path(settings, "fraud", LAST_DAY)
    challenge = json.loads(path.read_text()) | {"challenger": "fraud-2024-04-07-00000000", "champion": before.version}
    path.write_text(json.dumps(challenge | {"first_champion": None, "measured": _passing(challenge["measured"])}))
    assert fraud.decide_promotion(LAST_DAY)["verdict"] == "unknown"
    assert registry.champion(settings, "fraud") == before

    fraud_marts.publish(settings, orders, LAST_DAY)  # the wrong labels were taken back
    assert fraud.settle_labels(LAST_DAY)["state"] == "ok"
    assert ("labels_suspect", "fraud") not in _open_kinds(operations)


def _passing(measured: dict[str, Any]) -> dict[str, Any]:
    gain = {**measured["precision_gain"], "mean": 0.2, "low": 0.1, "high": 0.3}
    return {
        **measured,
        "frauds": 100,
        "precision_gain": gain,
        "precision_gain_over_best_baseline": gain,
        "saved_cents": 2.0,
        "opponent_saved_cents": 1.0,
        "frauds_over_expected": 1.0,
        "gaps": [],
    }


def test_one_class_of_labels_is_never_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _use(monkeypatch, tmp_path / "var")
    fraud_marts.publish(settings, fraud_marts.orders(FIRST_DAY, 98, 20, 1.0), LAST_DAY)
    fraud.build_training_set(LAST_DAY)
    with pytest.raises(DataFailed, match="label_share"):
        fraud.gate_training_set(LAST_DAY)
    assert registry.champion(settings, "fraud") is None


def test_drift_of_inputs_is_told_apart_from_quality(
    settings: Settings, operations: Operations, orders: pd.DataFrame
) -> None:
    """Devices and cards are suddenly busier than the model knew; nothing is known yet of how that turned out."""
    model = _publish_400(settings, orders)
    assert monitoring.check_drift(LAST_DAY, "fraud")["state"] in ("ok", "warn")
    watched = pd.read_parquet(settings.shop_dir / "models" / "fraud" / model / REFERENCE).columns
    assert "score" in watched
    assert len(watched) <= 26  # not all of the model's hundreds of inputs

    _publish_400(settings, orders, busier=8.0)
    assert monitoring.check_drift(LAST_DAY, "fraud")["state"] == "alert"
    assert monitoring.check_performance(LAST_DAY, "fraud")["state"] == "unknown"  # no scored order is old enough
    assert ("drift", "fraud") in _open_kinds(operations)
    assert ("performance", "fraud") not in _open_kinds(operations)
    drifted = operations.rows(monitor_states, monitor="feature_drift", state="alert")
    assert drifted
    assert all(row["object"].startswith("fraud: ") for row in drifted)


def _publish_400(settings: Settings, orders: pd.DataFrame, busier: float = 0.0) -> str:
    """A last week of 60 orders a day, so that there are enough to compare; returns the model that scored them."""
    history = orders[pd.to_datetime(orders["attempt_date"]) <= pd.Timestamp(LAST_DAY - timedelta(days=7))]
    week = fraud_marts.orders(LAST_DAY - timedelta(days=6), 7, 60, 0.04, seed=5)
    fraud_marts.publish(settings, pd.concat([history, week], ignore_index=True), LAST_DAY, busier=busier)
    return str(fraud.score_orders(LAST_DAY)["model_version"])


def test_scores_are_judged_once_labels_are_mature(
    settings: Settings, operations: Operations, orders: pd.DataFrame
) -> None:
    later = fraud_marts.orders(FIRST_DAY, 130, 40, 0.04)
    for offset in range(0, 28, 7):
        day = LAST_DAY + timedelta(days=offset)
        fraud_marts.publish(settings, later, day)
        fraud.score_orders(day)
    day = LAST_DAY + timedelta(days=30)
    fraud_marts.publish(settings, later, day)
    fraud.settle_labels(day)
    judged = monitoring.check_performance(day, "fraud")
    assert judged["state"] in ("ok", "warn")
    [row] = operations.rows(monitor_states, monitor="performance", partition=day.isoformat())
    assert row["detail"]["last_day"] <= (day - timedelta(days=row["detail"]["maturity_days"])).isoformat()

    swapped = later.assign(is_fraud=~later["is_fraud"] & (later.index % 25 == 0))  # other orders turn out to be fraud
    fraud_marts.publish(settings, later, day, labels=fraud_marts.fraud_labels(swapped, 5))
    assert monitoring.check_performance(day, "fraud")["state"] == "alert"
    assert ("performance", "fraud") in _open_kinds(operations)
    assert ("drift", "fraud") not in _open_kinds(operations)


def test_deciding_without_a_challenge_is_a_tool_failure(settings: Settings) -> None:
    with pytest.raises(ToolFailed, match="no challenge of"):
        fraud.decide_promotion(LAST_DAY - timedelta(days=7))


def test_the_commands_say_that_payments_are_simulated(settings: Settings) -> None:
    scored = CliRunner().invoke(fraud.fraud, ["score", "--day", LAST_DAY.isoformat()], catch_exceptions=False)
    assert "payments: simulated" in scored.output
    labels = CliRunner().invoke(fraud.fraud, ["labels", "--day", LAST_DAY.isoformat()], catch_exceptions=False)
    assert "maturity_days" in labels.output
