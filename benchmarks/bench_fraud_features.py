"""How long the features of 1.5 million payments take, from raw parts to the mart, on this machine.

    uv run python benchmarks/bench_fraud_features.py [PAYMENTS]

Payments are made up: half a year, 5,000 customers, 10,000 terminals of which one takes a tenth of all, shared devices
and addresses, nulls, many payments in one second, frauds that become known a week late. dbt builds the fraud models
and what they need, and nothing else.
"""

import json
import resource
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
from fraud_marts import build_fraud_marts
from machine import describe_run

FIRST_DAY = date(2024, 1, 1)
DAYS = 183
RESULTS = Path(__file__).parent / "results" / "fraud_features.json"
LIMIT_SECONDS = 180

# Every draw is a hash of the payment's number: the same rows on every run.
_PAYMENTS = f"""
    create table payments as
    with draws as (
        select i, [hash(i * 20 + k) / 18446744073709551616 for k in range(9)] as u from range($payments) as numbers (i)
    )
    select
        'o' || lpad(i::varchar, 8, '0') as order_id,
        'p' || lpad(i::varchar, 8, '0') as payment_id,
        timestamptz '{FIRST_DAY} 05:00:00+00' + to_seconds(floor(u[1] * {DAYS - 1} * 86400)::bigint) as attempted_at,
        case when u[2] >= 0.03 then 'c' || floor(u[2] * 5000)::int end as customer_id,
        md5('i' || (floor(u[2] * 5000)::int * 3 + floor(u[3] * 2)::int)) as instrument_hash,
        case when u[4] >= 0.1 then md5('d' || (floor(u[2] * 5000)::int * 2 + floor(u[4] * 2)::int)) end as device_hash,
        md5('n' || (floor(u[2] * 2500)::int * 4 + floor(u[5] * 4)::int)) as ip_hash,
        case when u[5] < 0.97 then 'US' else 'X' || (u[5] * 100000)::int % 40 end as ip_country,
        md5('a' || floor(u[2] * 4000)::int) as shipping_address_hash,
        md5('a' || floor(u[2] * 4000)::int) as billing_address_hash,
        'domain' || floor(u[3] * u[3] * 200)::int as email_domain,
        't' || case when u[6] < 0.1 then 0 else floor(u[7] * 10000)::int end as terminal_id,
        exp(u[8] * 4 + 5)::bigint as amount_cents,
        'USD' as currency,
        case when u[9] < 0.04 then 'declined' else 'approved' end as outcome
    from draws
"""  # noqa: S608 - our own numbers
_CHARGEBACKS = """
    select
        'b' || order_id as chargeback_id, order_id, attempted_at + interval 7 days as reported_at, true as is_fraud,
        amount_cents, currency
    from payments
    where hash(order_id) % 1000 < 7
"""


def made_up_tables(count_payments: int) -> dict[str, pa.Table]:
    """Contract tables of `count_payments` payments."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(_PAYMENTS, {"payments": count_payments})
        tables = {
            "customers": "select distinct customer_id from payments where customer_id is not null",
            "orders": "select order_id, customer_id, attempted_at as ordered_at, currency from payments",
            "payments": "select * exclude (customer_id) from payments",
            "chargebacks": _CHARGEBACKS,
        }
        return {name: connection.sql(query).to_arrow_table() for name, query in tables.items()}


def main() -> None:
    count_payments = int(sys.argv[1]) if len(sys.argv) > 1 else 1_500_000
    tables = made_up_tables(count_payments)
    with tempfile.TemporaryDirectory() as folder:
        built = build_fraud_marts(Path(folder), tables, FIRST_DAY + timedelta(days=DAYS + 7), "America/New_York")
        with built.connect() as marts:
            ((rows, columns),) = marts.sql(
                "select (select count(*) from feat_order_risk), (select count(*) from (describe feat_order_risk))"
            ).fetchall()
    assert rows == count_payments, f"{rows} of {count_payments} payments have features"
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # dbt's is the largest child
    figures = {
        "payments": rows,
        "columns": columns,
        "seconds": round(built.seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_gb": round(used.ru_maxrss * 1024 / 1e9, 2),
    }
    print(json.dumps(figures))
    if count_payments >= 1_500_000:
        RESULTS.write_text(
            json.dumps({**describe_run(), "limit_seconds": LIMIT_SECONDS, "figures": figures}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
