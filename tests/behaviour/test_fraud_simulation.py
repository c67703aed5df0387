"""How hard the simulated fraud is: somebody who knows the processes finds much of it, simple means find little.

Over a generated shop of its own, at one seed. No model is trained here.
"""

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from ml.shop.fraud_simulation import SimulationConfig, simulate
from ml.shop.fraud_simulation.attainable import attainable_scores
from ml.shop.fraud_simulation.methods import METHODS

CONFIG = SimulationConfig(seed=4, timezone="America/New_York")
CUSTOMERS, ORDERS, DAYS = 1_200, 60_000, 300
ENTITIES = {
    "instrument": "instrument_hash",
    "device": "device_hash",
    "ip": "ip_hash",
    "shipping": "shipping_address_hash",
}
THROWAWAY = ("tempbox.example", "mailnow.example", "quickpost.example")
pytestmark = pytest.mark.timeout(600)


def shop_orders(count=ORDERS, days=DAYS):
    random = np.random.default_rng(11)
    customer = random.choice(CUSTOMERS, size=count, p=random.dirichlet(np.full(CUSTOMERS, 2.0)))
    spends = random.normal(3.0, 0.5, CUSTOMERS)
    moments = pd.Timestamp("2024-01-01 05:00", tz="UTC") + pd.to_timedelta(
        random.integers(0, days, count) * 86_400
        + random.integers(3, 18, count) * 3_600
        + random.integers(0, 3_600, count),
        unit="s",
    )
    return pd.DataFrame(
        {
            "order_id": [f"o{number}" for number in range(count)],
            "customer_id": [f"c{number}" for number in customer],
            "ordered_at": moments,
            "store_id": "s1",
            "total_amount_cents": (100 * np.exp(random.normal(spends[customer], 0.8))).astype("int64"),
        }
    )


def fraud_labels(made):
    claims = made.chargebacks[made.chargebacks["is_fraud"].fillna(True).astype(bool)]
    found = made.refunds[made.refunds["reason"] == "fraud"]
    labels = pd.concat(
        [
            claims[["order_id", "reported_at"]].rename(columns={"reported_at": "known_at"}),
            found[["order_id", "refunded_at"]].rename(columns={"refunded_at": "known_at"}),
        ]
    )
    return labels.sort_values("known_at").drop_duplicates("order_id")


@pytest.fixture(scope="module")
def orders():
    return shop_orders()


@pytest.fixture(scope="module")
def made(orders):
    return simulate(orders, CONFIG)


@pytest.fixture(scope="module")
def figures(orders, made):
    """What an analyst would look at, one row per order, with whether it became known as fraud."""
    return simple_figures(orders, made.payments, fraud_labels(made))


@pytest.fixture(scope="module")
def attainable(orders, made, figures):
    scores = attainable_scores(orders, made.payments, fraud_labels(made), CONFIG)
    return scores.reindex(figures["order_id"]).to_numpy()


def simple_figures(orders, payments, labels):
    """Per order, from its own first payment and what was known before it."""
    rows = payments.drop_duplicates("order_id").merge(
        orders[["order_id", "customer_id"]], on="order_id", validate="one_to_one"
    )
    seconds = rows["attempted_at"].astype("int64").to_numpy() / 1e6
    known = dict(
        zip(labels["order_id"], labels["known_at"].astype("datetime64[us, UTC]").astype("int64") / 1e6, strict=True)
    )
    known_at = rows["order_id"].map(known).to_numpy(dtype=float)
    customers = rows.groupby("customer_id")
    count = customers.cumcount()
    mean = (customers["amount_cents"].cumsum() - rows["amount_cents"]) / count.clip(lower=1)
    made = {
        "amount": rows["amount_cents"],
        "amount_ratio": (rows["amount_cents"] / mean.clip(lower=100)).where(count > 0, 1.0),
        "orders_of_customer": count,
        "seconds_since_customer": pd.Series(seconds).groupby(rows["customer_id"]).diff(),
        "account_days": (rows["attempted_at"] - rows["account_created_at"]).dt.total_seconds() / 86_400,
        "hour": rows["attempted_at"].dt.tz_convert(CONFIG.timezone).dt.hour,
        "abroad": rows["ip_country"].notna() & (rows["ip_country"] != "US"),
        "throwaway": rows["email_domain"].isin(THROWAWAY),
        "differs": rows["shipping_address_hash"].notna()
        & (rows["shipping_address_hash"] != rows["billing_address_hash"]),
        "new_country": (rows.groupby(["customer_id", "ip_country"]).cumcount() == 0) & (count > 2),
    }
    for entity, column in ENTITIES.items():
        has = rows[column].notna()
        made[f"new_{entity}"] = has & (rows.groupby(["customer_id", column]).cumcount() == 0) & (count > 2)
        first = (~rows.duplicated(["customer_id", column])).astype(int)
        made[f"customers_of_{entity}"] = (first.groupby(rows[column]).cumsum() - first).where(has, 0)
        for name, values in windows(rows, column, seconds, known_at).items():
            made[f"{name}_{entity}"] = values
    return pd.DataFrame(made).astype(float).fillna(0).assign(order_id=rows["order_id"], label=~np.isnan(known_at))


def windows(rows, column, seconds, known_at):
    """Earlier orders in an hour, a day, at all; earlier failures in a day; frauds known before."""
    found = {name: np.zeros(len(rows)) for name in ("in_hour", "in_day", "ever", "failed_in_day", "frauds")}
    has_failed = (rows["outcome"] != "approved").to_numpy()
    for at in rows.groupby(column).indices.values():
        times, position = seconds[at], np.arange(len(at))
        since_day = np.searchsorted(times, times - 86_400)
        failed = np.concatenate([[0], np.cumsum(has_failed[at])])
        found["in_hour"][at] = position - np.searchsorted(times, times - 3_600)
        found["in_day"][at] = position - since_day
        found["ever"][at] = position
        found["failed_in_day"][at] = failed[position] - failed[since_day]
        reported = np.sort(known_at[at])
        found["frauds"][at] = np.searchsorted(reported[~np.isnan(reported)], times)
    return found


def rules(figures):
    """What a shop writes down by hand; how many of them an order meets is its score."""
    yield (figures["in_hour_device"] >= 2) & (figures["customers_of_device"] >= 2)
    yield (figures["new_device"] == 1) & (figures["new_instrument"] == 1)
    yield (figures["new_country"] == 1) & (figures["new_instrument"] == 1)
    yield (figures["throwaway"] == 1) & (figures["new_device"] == 1)
    yield (figures["new_shipping"] == 1) & (figures["new_device"] == 1) & (figures["amount_ratio"] > 2)
    yield figures[["frauds_device", "frauds_instrument", "frauds_shipping"]].sum(axis=1) > 0
    yield (figures["new_instrument"] == 1) & (figures["amount"] > 10_000)
    yield (figures["failed_in_day_device"] > 0) & (figures["new_instrument"] == 1)


def test_about_the_share_asked_for_is_fraud_and_each_method_occurs(made):
    share = made.truth["is_fraud"].mean()
    assert 0.005 < share < 0.009
    fraud = made.truth.loc[made.truth["is_fraud"], "scenario"].value_counts()
    assert set(fraud.index) == {method.name for method in METHODS}


def test_fraud_is_found_by_who_knows_the_processes(figures, attainable):
    precision = average_precision_score(figures["label"], attainable)
    assert 0.45 <= precision <= 0.75


def test_the_attainable_is_calibrated(figures, attainable, made):
    is_fraud = made.truth.set_index("order_id")["is_fraud"].reindex(figures["order_id"]).to_numpy()
    sure = attainable > 0.5
    assert sure.sum() > 100
    assert is_fraud[sure].mean() == pytest.approx(attainable[sure].mean(), abs=0.08)
    assert is_fraud.mean() == pytest.approx(attainable.mean(), rel=0.2)


def test_rules_alone_reach_less_than_half(figures, attainable):
    met = np.column_stack([rule.to_numpy() for rule in rules(figures)])
    assert met.shape[1] == 8
    assert (met.sum(axis=0) > 10).all()
    reached = average_precision_score(figures["label"], met.sum(axis=1))
    assert 0.05 < reached < 0.5 * average_precision_score(figures["label"], attainable)


def test_no_single_figure_reaches_40_percent(figures, attainable):
    names = [name for name in figures if name not in ("order_id", "label")]
    assert len(names) > 30
    best = max(average_precision_score(figures["label"], sign * figures[name]) for name in names for sign in (1, -1))
    assert best < 0.4 * average_precision_score(figures["label"], attainable)


def test_friendly_fraud_cannot_be_told_from_honest_orders(figures, attainable, made):
    scenario = made.truth.set_index("order_id")["scenario"].reindex(figures["order_id"]).to_numpy()
    friendly, honest = attainable[scenario == "friendly_fraud"], attainable[scenario == "normal"]
    assert len(friendly) > 20
    assert (friendly > np.quantile(honest, 0.9)).mean() == pytest.approx(0.1, abs=0.12)


def test_it_becomes_known_by_the_stated_curve(orders, made):
    fraud = made.chargebacks.merge(made.truth[made.truth["scenario"] == "stolen_instrument"], on="order_id")
    placed = fraud["order_id"].map(orders.set_index("order_id")["ordered_at"])
    days = (fraud["reported_at"] - placed).dt.total_seconds() / 86_400
    assert len(days) > 50
    assert days.min() > 2
    assert days.median() == pytest.approx(20, rel=0.25)
    assert days.quantile(0.95) < 75
    unknown = 1 - made.truth.loc[made.truth["is_fraud"], "is_reported"].mean()
    assert 0 < unknown < 0.09


def test_a_longer_shop_begins_with_the_shorter_one(orders, made):
    day = orders["ordered_at"].min() + pd.Timedelta(days=200)
    before = orders[orders["ordered_at"] < day].sample(frac=1, random_state=0)
    shorter = simulate(before, CONFIG)
    assert len(before) > 30_000
    for table in ("payments", "chargebacks", "refunds", "truth"):
        longer = getattr(made, table)
        same = longer[longer["order_id"].isin(before["order_id"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(same, getattr(shorter, table))


def test_a_planted_bias_wrongs_one_group_and_nobody_else(orders, made):
    planted = simulate(orders, replace(CONFIG, plant="group_bias"))
    known = planted.truth["order_id"].isin(fraud_labels(planted)["order_id"])
    by_group = known.groupby(planted.truth["group"]).mean()
    assert by_group["marked"] > 3 * by_group["other"]
    pd.testing.assert_series_equal(planted.truth["is_fraud"], made.truth["is_fraud"])
    assert set(planted.truth.loc[planted.truth["is_over_reported"], "group"]) == {"marked"}
    assert not planted.truth.loc[planted.truth["is_over_reported"], "is_fraud"].any()


def test_a_planted_drift_starts_on_its_day(orders, made, attainable, figures):
    day = date(2024, 8, 1)
    planted = simulate(orders, replace(CONFIG, plant="drift", plant_from=day))
    start = pd.Timestamp(day, tz=CONFIG.timezone)
    early = orders.loc[orders["ordered_at"] < start, "order_id"]
    pd.testing.assert_frame_equal(
        planted.payments[planted.payments["order_id"].isin(early)].reset_index(drop=True),
        made.payments[made.payments["order_id"].isin(early)].reset_index(drop=True),
    )
    changed = simple_figures(orders, planted.payments, fraud_labels(planted))
    late = ~changed["order_id"].isin(early)
    assert changed.loc[late, "new_ip"].mean() > 1.3 * figures.loc[late, "new_ip"].mean()
    shares = planted.truth[~planted.truth["order_id"].isin(early)]["scenario"].value_counts()
    assert shares["promotion_ring"] > shares["stolen_instrument"]
