"""What is simulated over a handful of orders."""

import importlib
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from ml.shop.contract import CONTRACT
from ml.shop.fraud_simulation import SimulationConfig, simulate
from ml.shop.fraud_simulation.attacks import Attacks, attacks_on
from ml.shop.fraud_simulation.methods import METHODS, Ways

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
RISKY = 0.19  # the largest share of fraud that is allowed, so that twenty orders have some


def orders(count=20, *, start=NOON, every=timedelta(hours=7)):
    return pd.DataFrame(
        {
            "order_id": [f"o{number}" for number in range(count)],
            "customer_id": [f"c{number % 4}" for number in range(count)],
            "ordered_at": pd.to_datetime([start + number * every for number in range(count)], utc=True),
            "store_id": "s1",
            "total_amount_cents": [1_000 + 100 * number for number in range(count)],
        }
    )


def many(config_seeds=20, **changes):
    """Simulations that differ by seed; together they hold fraud of each kind."""
    for seed in range(config_seeds):
        yield simulate(orders(), SimulationConfig(seed=seed, fraud_rate=RISKY), **changes)


def test_the_tables_have_the_contracts_columns():
    made = simulate(orders(), SimulationConfig())
    for table in ("payments", "chargebacks", "refunds"):
        wanted = [column.name for column in CONTRACT[table].columns if column.name != "currency"]
        assert sorted(getattr(made, table).columns) == sorted(wanted)


def test_every_order_is_paid_in_the_end():
    payments = pd.concat([made.payments.assign(run=run) for run, made in enumerate(many())])
    assert (payments["outcome"] != "approved").sum() > 20
    last = payments.sort_values(["attempted_at", "payment_id"]).groupby(["run", "order_id"])["outcome"].last()
    assert len(last) == 20 * 20
    assert set(last) == {"approved"}
    assert (payments.groupby(["run", "order_id"])["outcome"].agg(lambda some: (some == "approved").sum()) == 1).all()


def test_failed_attempts_never_reach_back_into_the_day_before():
    midnight = datetime(2024, 3, 1, tzinfo=UTC)
    late = orders(start=midnight + timedelta(seconds=30), every=timedelta(days=1))
    attempts = [simulate(late, SimulationConfig(seed=seed)).payments for seed in range(30)]
    several = pd.concat([made[made["order_id"].duplicated(keep=False)] for made in attempts])
    assert len(several) > 20
    placed = several["order_id"].map(late.set_index("order_id")["ordered_at"])
    assert (several["attempted_at"].dt.date == placed.dt.date).all()


def test_amounts_are_the_shops():
    made = simulate(orders(), SimulationConfig())
    assert made.payments.drop_duplicates("order_id")["amount_cents"].tolist() == orders()["total_amount_cents"].tolist()


def test_a_guest_has_no_account_and_no_history():
    guests = orders().assign(customer_id=None)
    made = simulate(guests, SimulationConfig(seed=1))
    assert made.payments["account_created_at"].isna().all()
    assert len(made.truth) == 20


def test_an_order_without_a_total_is_paid_nothing():
    made = simulate(orders(1).assign(total_amount_cents=None), SimulationConfig())
    assert made.payments["amount_cents"].tolist()[-1] == 0


def test_no_orders_give_no_rows():
    made = simulate(orders(0), SimulationConfig())
    assert (len(made.payments), len(made.chargebacks), len(made.refunds), len(made.truth)) == (0, 0, 0, 0)


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="store_id"):
        simulate(orders().drop(columns="store_id"), SimulationConfig())


def test_an_order_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match="1 orders stand more than once"):
        simulate(pd.concat([orders(3), orders(1)]), SimulationConfig())


def test_a_store_has_terminals_and_no_devices():
    payments = pd.concat([made.payments for made in many(5)])
    in_store = payments["channel"] == "store"
    assert in_store.any()
    assert payments.loc[in_store, ["device_hash", "ip_hash", "ip_country", "shipping_address_hash"]].isna().all().all()
    assert payments.loc[in_store, "terminal_id"].str.match(r"s1-t[1-4]").all()
    assert payments.loc[~in_store, "terminal_id"].isna().all()


def decided(action, when=NOON):
    return pd.DataFrame({"order_id": orders()["order_id"], "action": action, "decided_at": when})


def test_a_declined_order_yields_nothing():
    free = list(many())
    assert sum(len(made.chargebacks) for made in free) > 20
    for made in many(decisions=decided("decline")):
        assert made.chargebacks.empty
        assert made.refunds.empty


def test_what_is_decided_after_the_report_changes_nothing():
    afterwards = NOON + timedelta(days=400)
    for free, late in zip(many(), many(decisions=decided("decline", afterwards)), strict=True):
        pd.testing.assert_frame_equal(free.chargebacks, late.chargebacks)
        pd.testing.assert_frame_equal(free.refunds, late.refunds)


def test_approval_and_review_stop_nothing():
    for action in ("approve", "review"):
        for free, seen in zip(many(5), many(5, decisions=decided(action)), strict=True):
            pd.testing.assert_frame_equal(free.chargebacks, seen.chargebacks)


def test_a_challenge_stops_fraud_by_the_stated_odds():
    truth = pd.concat([made.truth for made in many(80, decisions=decided("challenge"))])
    stopped = truth[truth["is_fraud"]].groupby("scenario")["is_prevented"].agg(["mean", "size"])
    assert (stopped["size"] > 5).all()
    for method in METHODS:
        slack = 3.5 * (method.challenge_stops * (1 - method.challenge_stops) / stopped.loc[method.name, "size"]) ** 0.5
        assert abs(stopped.loc[method.name, "mean"] - method.challenge_stops) <= slack
    assert not truth.loc[~truth["is_fraud"], "is_prevented"].any()


def test_friendly_fraud_is_paid_like_any_other_order(monkeypatch):
    made = [simulate(orders(), SimulationConfig(seed=seed, fraud_rate=RISKY)) for seed in range(10)]
    friendly = [(one, one.truth.loc[one.truth["scenario"] == "friendly_fraud", "order_id"]) for one in made]
    assert sum(len(found) for _, found in friendly) > 3

    def honest(context, config):
        attacks = attacks_on(context, config)
        is_friendly = attacks.method == len(METHODS) - 1
        method = attacks.method.copy()
        method[is_friendly] = -1
        return Attacks(method, attacks.ring, attacks.parcel_ring)

    module = importlib.import_module("ml.shop.fraud_simulation.simulate")  # the package names its function so too
    monkeypatch.setattr(module, "attacks_on", honest)
    for seed, one in enumerate(made):
        again = simulate(orders(), SimulationConfig(seed=seed, fraud_rate=RISKY))
        assert not (again.truth["scenario"] == "friendly_fraud").any()
        pd.testing.assert_frame_equal(one.payments, again.payments)


def test_the_chances_of_a_way_must_add_up():
    with pytest.raises(ValueError, match="add up to 1"):
        Ways(known=0.5, new=0.4, shared=0.2)


@pytest.mark.parametrize("wrong", [{"fraud_rate": 0.0}, {"fraud_rate": 0.5}, {"plant": "nothing"}])
def test_a_wrong_configuration_is_refused(wrong):
    with pytest.raises(ValueError, match=r"fraud_rate|plant"):
        SimulationConfig(**wrong)
