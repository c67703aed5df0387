"""A policy's way from a file to decisions: tried on past orders, in shadow, active, and back; with rules and lists."""

import re
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from ml.cli.policies_in_force import decide_orders, record_hits, shadow_policies
from ml.cli.policy import policy as policy_command
from ml.cli.rules import rules as rules_command
from ml.fraud.baselines import fit_rates
from ml.fraud.config import FraudConfig
from ml.fraud.features import with_derived
from ml.fraud.policy import FairnessSwitch
from ml.outcomes import DataFailed
from ml.serving.fraud_parts import active_policy, lists_in_force
from ml.settings import SettingsError
from ml.stores import decision_log, registry
from ml.stores.bundles import save_bundle
from ml.stores.operations import Operations, incidents
from ml.stores.warehouse import open_marts
from tests import fraud_marts

FIRST, LAST, LEARNT_UNTIL = date(2026, 1, 5), date(2026, 4, 30), date(2026, 3, 1)
STRICT = """
breaker: {declines: 3, share: 0.0, window_hours: 24}
rules:
  - {name: busy_device, when: count_orders_device_1h >= 4, action: decline, why: A busy device}
"""


@pytest.fixture
def shop(configure):
    """Marts of four months with known frauds, and a baseline as champion that has learnt from the first two."""
    settings = configure(timezone="UTC", source="files", files_dir="/nowhere", simulate_payments="true")
    judged = fraud_marts.orders(FIRST, 116, 20, 0.06)
    fraud_marts.publish(settings, judged, LAST)
    features = open_marts(settings).connect().execute("select * from feat_order_risk order by attempted_at").df()
    is_learnt = pd.to_datetime(features["attempt_date"]) < pd.Timestamp(LEARNT_UNTIL)
    rows = with_derived(features).assign(
        is_fraud=features["order_id"].isin(judged.loc[judged["is_fraud"], "order_id"]),
        weight=1.0,
        known_share=1.0,
        fold="train",
    )
    scorer = fit_rates(rows[is_learnt])
    manifest = {
        "kind": scorer.kind,
        "name": scorer.name,
        "features": list(scorer.features),
        "fingerprints": {},
        "trained_partition": "2026-03-10",
        "split": {"train_until": LEARNT_UNTIL.isoformat()},
        "config": FraudConfig().as_dict(),
    }
    bundle = save_bundle(settings, "fraud", manifest, dict(scorer.files()))
    registry.promote(settings, "fraud", bundle.version, LAST)
    return settings


def _run(command, *words):
    return CliRunner().invoke(command, list(words), catch_exceptions=False)


def _file(tmp_path, text, name="mine.yml"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def _default_with(more):
    from ml.fraud.policy_file import DEFAULT_POLICY

    body = re.sub(r"\nbreaker:.*", "\n", DEFAULT_POLICY.read_text(), flags=re.S)
    return body.replace("name: default", "name: mine") + more


# Without challenges and reviewers it is the model, or the rule, that stops a fraud; and the model knows noise only.
PLAIN = "actions: [approve, decline]\n"


def _plain(more=""):
    body = re.sub(r"\n(exploration|standin|reviews):[^\n]*(\n  [^\n]*)+", "", _default_with(""))
    return body + PLAIN + more


def test_from_a_file_to_decisions_and_back(shop, tmp_path):
    operations = Operations.from_settings(shop)
    default = active_policy(operations).version
    assert default.startswith("default-")
    assert "a draft" in _run(policy_command, "submit", _file(tmp_path, _default_with(STRICT)), "--by", "ada").output
    again = _run(policy_command, "submit", _file(tmp_path, _default_with(STRICT)), "--by", "bob").output
    assert "nothing changed" in again
    version = re.match(r"(mine-\w{8})", again).group(1)

    with pytest.raises(DataFailed, match="from there it can become shadow, retired"):
        _run(policy_command, "promote", version, "--to", "active", "--reason", "in a hurry")
    assert active_policy(operations).version == default
    _run(policy_command, "promote", version[:7], "--to", "shadow", "--reason", "try it", "--by", "ada")
    assert [policy.version for policy in shadow_policies(operations)] == [version]
    assert active_policy(operations).version == default
    _run(policy_command, "promote", version, "--to", "active", "--reason", "saves money", "--by", "fin")
    assert active_policy(operations).version == version
    assert active_policy(operations).rules[0].name == "busy_device"

    other = _run(policy_command, "submit", _file(tmp_path, _default_with("")), "--by", "ada").output.split(":")[0]
    for state in ("shadow", "active"):
        _run(policy_command, "promote", other, "--to", state, "--reason", "simpler", "--by", "ada")
    assert active_policy(operations).version == other
    _run(policy_command, "promote", version, "--to", "active", "--reason", "it was better", "--by", "fin")
    assert active_policy(operations).version == version
    history = _run(policy_command, "history").output
    assert re.search(rf"{version} +retired +active +fin +it was better", history)
    assert re.search(rf"{other} +active +retired +fin +{version} took its place", history)
    assert "name: mine" in _run(policy_command, "show").output


def test_a_wrong_file_is_refused_with_its_place_and_nothing_is_kept(shop, tmp_path):
    with pytest.raises(SettingsError, match=r"mine.yml:\d+: costs.margin_share: expected a number above 0 to 1"):
        _run(policy_command, "submit", _file(tmp_path, _default_with("").replace("0.25", "-1")))
    assert "no policy was submitted" in _run(policy_command, "history").output


def test_a_backtest_counts_only_orders_that_nobody_learnt_from_and_that_are_old_enough(shop, tmp_path):
    path = _file(tmp_path, _plain(STRICT))
    told = _run(policy_command, "backtest", path, "--days", "90", "--draws", "50").output
    assert "simulated" in told
    assert re.search(r"mature orders of \d+ days from 2026-03-01 to 2026-04-2\d; [1-9]\d* frauds", told)
    assert re.search(r"Left out: [\d,]+ orders the champion has learnt from them", told)
    value, low, high = _stopped(told)
    assert low < value < high
    without = _run(policy_command, "backtest", _file(tmp_path, _plain()), "--days", "90", "--draws", "2").output
    assert value > 40 > 10 > _stopped(without)[0]
    assert re.search(r"honest orders declined +[\d.]+%", told)
    assert re.search(r"mine-\w+ against default-\w+: saves [-\d.,]+ per 1,000 orders, 95% interval", told)


def _stopped(told):
    return [float(one) for one in re.search(r"frauds stopped +([\d.]+)% \(([\d.]+)% to ([\d.]+)%\)", told).groups()]


def test_a_rule_is_tried_by_itself_and_in_the_policy(shop, tmp_path):
    path = _file(tmp_path, _plain())
    told = _run(policy_command, "backtest", path, "--rule", "count_orders_device_1h >= 6", "--draws", "50").output
    assert re.search(r"frauds among the orders met +[5-9]\d", told)
    assert re.search(r"with the rule against mine-\w+: saves [\d.,]+ .*more than chance", told)
    nonsense = _run(policy_command, "backtest", path, "--rule", "hour_of_day >= 0", "--draws", "50").output
    assert re.search(r"with the rule against mine-\w+: saves -[\d.,]+ .*less, beyond chance", nonsense)
    refused = CliRunner().invoke(policy_command, ["backtest", "--rule", "count_orders >= 6"])
    assert refused.exit_code == 2
    assert "position 1: unknown field" in refused.output


def test_the_curve_is_a_table_and_a_page(shop):
    told = _run(policy_command, "curve", "--days", "60").output
    assert "least" in told
    assert "approving all" in told
    page = next((shop.shop_dir / "reports").glob("policy_default-*.html")).read_text()
    assert page.count("<path class=") == 2
    assert "simulated" in page
    assert "<script" not in page


def _orders(settings, day):
    from ml.cli.fraud.inputs import read_orders

    return read_orders(open_marts(settings).connect(), day, day)


def _decided(settings, operations, orders):
    policy = active_policy(operations)
    decided = decide_orders(operations, orders, None, policy, settings.seed)
    record_hits(operations, decided, orders, policy)
    decision_log.record_decisions(
        operations,
        decided.assign(
            partition=str(LAST),
            ordered_at=orders["attempted_at"],
            decided_at=pd.Timestamp(settings.shop_clock(LAST)),
            amount_cents=orders["amount_cents"],
            policy_version=policy.version,
            customer_id=orders["customer_id"],
        ),
    )
    return decided


def test_a_rule_that_would_decline_too_much_is_capped_and_operators_are_told(shop, tmp_path):
    operations = Operations.from_settings(shop)
    path = _file(tmp_path, _default_with(STRICT.replace("count_orders_device_1h >= 4", "amount_cents >= 0")))
    version = _run(policy_command, "submit", path).output.split(":")[0]
    for state in ("shadow", "active"):
        _run(policy_command, "promote", version, "--to", state, "--reason", "mistyped")
    orders = _orders(shop, LAST)
    decided = _decided(shop, operations, orders)
    assert (decided["action"] == "decline").sum() == 3
    assert (decided["action"] == "review").sum() == len(orders) - 3
    (incident,) = operations.rows(incidents, kind="rule_capped")
    assert (incident["object"], incident["state"]) == ("busy_device", "open")
    assert f"{len(orders) - 3} orders went to review" in incident["body"]

    again = decide_orders(operations, orders, None, active_policy(operations), shop.seed)
    assert again["action"].tolist() == decided["action"].tolist()
    assert record_hits(operations, again, orders, active_policy(operations)) == 0
    assert len(operations.rows(incidents, kind="rule_capped")) == 1
    told = _run(rules_command, "stats", "--days", "30").output
    assert re.search(rf"busy_device +decline +{len(orders)} +{len(orders) - 3} ", told)

    record_hits(operations, decided.iloc[:0], orders.iloc[:0], active_policy(operations))  # nothing was judged
    assert operations.rows(incidents, kind="rule_capped")[0]["state"] == "open"
    calm = _orders(shop, LAST).iloc[:1].assign(order_id="calm", attempted_at=pd.Timestamp("2026-05-20", tz="UTC"))
    quiet = decide_orders(operations, calm, None, active_policy(operations), shop.seed)
    record_hits(operations, quiet, calm, active_policy(operations))
    assert operations.rows(incidents, kind="rule_capped")[0]["state"] == "closed"


def test_who_stands_on_a_list_is_masked_and_expires_by_the_shops_clock(shop):
    operations = Operations.from_settings(shop)
    order = _orders(shop, LAST).iloc[0]
    device = order["device_hash"]
    told = _run(
        rules_command, "block", "--entity", "device", "--order", order["order_id"], "--days", "2", "--reason", "seen"
    ).output
    assert "until 2026-05-03 00:00" in told
    assert lists_in_force(operations)[0].value == device
    listed = _run(rules_command, "list").output
    assert re.search(r"1 +block +device", listed)
    assert device not in told + listed
    decided = decide_orders(operations, _orders(shop, LAST), None, active_policy(operations), shop.seed)
    blocked = (_orders(shop, LAST)["device_hash"] == device).to_numpy()
    assert (decided.loc[blocked, "action"] == "decline").all()
    assert (decided.loc[blocked, "source"] == "list").all()
    assert "removed" in _run(rules_command, "remove", "1").output
    assert lists_in_force(operations) == []
    with pytest.raises(DataFailed, match="no entry 1 is in force"):
        _run(rules_command, "remove", "1")


def _by_size(paid, demographics):
    return pd.DataFrame({"order_id": paid["order_id"], "shoe_size": ["small", "large"] * (len(paid) // 2)})


def test_a_group_aware_policy_gets_its_groups_and_no_other_does(shop, tmp_path, monkeypatch):
    operations = Operations.from_settings(shop)
    orders = _orders(shop, LAST)
    uncertain = np.full(len(orders), 0.2)
    switched_on = _default_with(
        "fairness: {group_aware: true, legal_basis: counsel, grouping: shoe_size, probability_factors: "
        "[{group: small, factor: 0.01}]}\n"
    )
    version = _run(policy_command, "submit", _file(tmp_path, switched_on)).output.split(":")[0]
    for state in ("shadow", "active"):
        _run(policy_command, "promote", version, "--to", state, "--reason", "counsel")
    on = active_policy(operations)
    with pytest.raises(DataFailed, match="no grouping shoe_size"):
        decide_orders(operations, orders, uncertain, on, shop.seed)
    monkeypatch.setattr("ml.cli.policy_groups.order_groups", _by_size)
    aware = decide_orders(operations, orders, uncertain, on, shop.seed)
    monkeypatch.setattr("ml.cli.policy_groups.order_groups", _nobody_looks)
    blind = decide_orders(operations, orders, uncertain, replace(on, fairness=FairnessSwitch()), shop.seed)
    milder = aware["action"].ne(blind["action"])
    assert 0 < milder.sum() <= len(orders) / 2
    assert (aware.loc[milder, "action"] == "approve").all()


def _nobody_looks(paid, demographics):
    raise AssertionError("a policy without the switch looked at groups")
