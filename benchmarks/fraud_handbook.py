"""A payment data set of another shape: customers at terminals, amounts, times, and labels that come a week late.

Made up here, after the three scenarios of the *Reproducible Machine Learning for Credit Card Fraud Detection* handbook
(Le Borgne, Siblini, Lebichot, Bontempi; Université Libre de Bruxelles, chapter "Transaction data simulator"), whose
published data set has 1.75 million payments of 5,000 customers at 10,000 terminals over half a year. It has no device,
instrument, network or address, and no payment ever fails. Nothing of Shopwright was chosen by it.

1. Amounts above 220.00 are fraud, always.
2. Every day two terminals are compromised: all that is paid there in the next 28 days is fraud.
3. Every day three customers are compromised: a third of what they pay in the next 14 days is five times as
   much, and fraud.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

CURRENCY = "EUR"
FIRST_MOMENT = datetime(2018, 4, 1, tzinfo=UTC)
LABEL_DELAY = timedelta(days=7)
_SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class HandbookConfig:
    """How many of everything."""

    customers: int = 5_000
    terminals: int = 10_000
    days: int = 183
    radius: float = 5.0  # of a square of 100 by 100: a customer pays at terminals as near as this
    large_amount: float = 220.0
    terminals_compromised_a_day: float = 2.0  # of a small world, less than one
    terminal_days: int = 28
    customers_compromised_a_day: float = 3.0
    customer_days: int = 14
    seed: int = 0

    def scaled(self, share: float) -> "HandbookConfig":
        """A smaller world with as many payments a terminal, and frauds in proportion."""
        return HandbookConfig(
            customers=round(self.customers * share),
            terminals=round(self.terminals * share),
            days=self.days,
            radius=self.radius / share**0.5,
            terminals_compromised_a_day=self.terminals_compromised_a_day * share,
            customers_compromised_a_day=self.customers_compromised_a_day * share,
            seed=self.seed,
        )


def make_payments(config: HandbookConfig) -> pd.DataFrame:
    """Payments in order of time, with their scenario: 0 is none."""
    generator = np.random.default_rng(config.seed)
    payments = _normal_payments(config, generator)
    amount = payments["amount"].to_numpy().copy()
    day = payments["day"].to_numpy()
    scenario = np.where(amount > config.large_amount, 1, 0)

    compromised_until = np.full(config.terminals, -1)
    at_terminal = payments["terminal"].to_numpy()
    customer = payments["customer"].to_numpy()
    customer_until = np.full(config.customers, -1)
    starts = np.searchsorted(day, np.arange(config.days + 1))
    for today in range(config.days):
        rows = np.arange(starts[today], starts[today + 1])
        scenario[rows[compromised_until[at_terminal[rows]] >= today]] = 2
        suspects = rows[customer_until[customer[rows]] >= today]
        hit = suspects[generator.random(len(suspects)) < 1 / 3]
        amount[hit] *= 5
        scenario[hit] = 3
        # Compromised from the next day on.
        terminals = generator.choice(config.terminals, _due(config.terminals_compromised_a_day, today), replace=False)
        compromised_until[terminals] = today + config.terminal_days
        customers = generator.choice(config.customers, _due(config.customers_compromised_a_day, today), replace=False)
        customer_until[customers] = today + config.customer_days

    seconds = payments["second"].to_numpy() + day * _SECONDS_A_DAY
    return pd.DataFrame(
        {
            "order_id": [f"h{number}" for number in range(len(payments))],
            "customer_id": np.char.add("c", customer.astype(str)),
            "terminal_id": np.char.add("t", at_terminal.astype(str)),
            "attempted_at": pd.Timestamp(FIRST_MOMENT) + pd.to_timedelta(seconds, unit="s"),
            "amount_cents": np.round(amount * 100).astype(np.int64),
            "scenario": scenario,
        }
    )


def _due(rate: float, day: int) -> int:
    """How many fall on a day when `rate` fall on each."""
    return int((day + 1) * rate) - int(day * rate)


def _normal_payments(config: HandbookConfig, generator: np.random.Generator) -> pd.DataFrame:
    homes = generator.uniform(0, 100, (config.customers, 2))
    places = generator.uniform(0, 100, (config.terminals, 2))
    mean_amount = generator.uniform(5, 100, config.customers)
    payments_a_day = generator.uniform(0, 4, config.customers)
    counts = generator.poisson(np.repeat(payments_a_day[:, None], config.days, axis=1))
    customer = np.repeat(np.arange(config.customers), counts.sum(axis=1))
    day = np.concatenate([np.repeat(np.arange(config.days), row) for row in counts])
    second = generator.normal(_SECONDS_A_DAY / 2, 20_000, len(day))
    inside = (second > 0) & (second < _SECONDS_A_DAY)
    customer, day, second = customer[inside], day[inside], second[inside].astype(np.int64)
    amount = generator.normal(mean_amount[customer], mean_amount[customer] / 2)
    amount = np.where(amount < 0, generator.uniform(0, 2 * mean_amount[customer]), amount)

    terminal = np.full(len(customer), -1)
    begins = np.searchsorted(customer, np.arange(config.customers + 1))
    for one in range(config.customers):
        near = np.flatnonzero(np.hypot(*(places - homes[one]).T) < config.radius)
        rows = slice(begins[one], begins[one + 1])
        if len(near):
            terminal[rows] = generator.choice(near, rows.stop - rows.start)
    frame = pd.DataFrame(
        {"customer": customer, "terminal": terminal, "day": day, "second": second, "amount": np.maximum(amount, 0.01)}
    )
    return frame[frame["terminal"] >= 0].sort_values(["day", "second", "customer"], ignore_index=True)


def as_tables(payments: pd.DataFrame) -> dict[str, pa.Table]:
    """The tables of the shop contract that such a data set can fill; what it does not have is missing altogether."""
    frauds = payments[payments["scenario"] > 0]
    order = {"order_id": payments["order_id"], "currency": CURRENCY}
    frames = {
        "customers": pd.DataFrame({"customer_id": pd.unique(payments["customer_id"])}),
        "orders": pd.DataFrame(
            {
                **order,
                "customer_id": payments["customer_id"],
                "ordered_at": payments["attempted_at"],
                "total_amount_cents": payments["amount_cents"],
            }
        ),
        "payments": pd.DataFrame(
            {
                **order,
                "payment_id": payments["order_id"] + "-1",
                "attempted_at": payments["attempted_at"],
                "terminal_id": payments["terminal_id"],
                "amount_cents": payments["amount_cents"],
                "outcome": "approved",
            }
        ),
        "chargebacks": pd.DataFrame(
            {
                "chargeback_id": frauds["order_id"] + "-c",
                "order_id": frauds["order_id"],
                "reported_at": frauds["attempted_at"] + LABEL_DELAY,
                "is_fraud": True,
                "amount_cents": frauds["amount_cents"],
                "currency": CURRENCY,
            }
        ),
    }
    return {name: pa.Table.from_pandas(frame, preserve_index=False) for name, frame in frames.items()}
