"""A shop's tables in a private PostgreSQL server, as the shop writes them and as the reader is set up to read them."""

from datetime import date, datetime

import psycopg

from ml.shop.postgres import PostgresSource
from tests.private_postgres import PrivateServer

MONDAY, TUESDAY, WEDNESDAY = date(2024, 5, 6), date(2024, 5, 7), date(2024, 5, 8)
CANARY = "c4n4ry"
TABLES = """
drop schema if exists shop cascade;
create schema shop;
create table shop.customers (customer_id text, registered_at timestamptz, email text, country text,
    updated_at timestamptz);
create table shop.products (product_id text, name text, is_merchandise bool);
create table shop.orders (order_id text, customer_id text, ordered_at timestamptz, store_id text,
    total_amount_cents bigint, currency text, updated_at timestamptz);
create table shop.order_lines (order_line_id text, order_id text, product_id text, ordered_at timestamptz,
    quantity double precision, amount_cents bigint, discount_cents bigint, currency text, updated_at timestamptz);
"""


def reader_settings(server: PrivateServer, **changes: object) -> dict[str, object]:
    return {
        "source": "postgres",
        "source_url": server.url_of("reader", CANARY),
        "source_schema": "shop",
        "timezone": "America/New_York",
        "first_day": "2024-01-01",
        "bootstrap_day": MONDAY,
        "last_day": "none",
        **changes,
    }


def execute(server: PrivateServer, *statements: str, **parameters: object) -> None:
    with psycopg.connect(host=str(server.folder), user="shopwright", dbname="postgres") as connection:
        for statement in statements:
            connection.execute(statement, parameters or None)  # type: ignore[arg-type]


def write_orders(
    server: PrivateServer, written: dict[str, datetime | str | None], ordered_at: str = "2024-05-01"
) -> None:
    with psycopg.connect(host=str(server.folder), user="shopwright", dbname="postgres") as connection:
        connection.cursor().executemany(
            "insert into shop.orders values (%s, 'c1', %s, null, 100, 'USD', %s)",
            [(order, ordered_at, moment) for order, moment in written.items()],
        )


def ids(source: PostgresSource, first_day: date, end_day: date) -> list[str]:
    found: list[str] = source.read("orders", first_day, end_day).rows["order_id"].to_pylist()
    return found
