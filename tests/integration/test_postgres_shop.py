"""A shop in PostgreSQL, set up by the page's own commands, through landing and the arrival gate."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest

from ml.cli.ingest import gate_arrivals, land_days
from ml.embedded.doctor import check_source
from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores.landing import Landing
from ml.stores.operations import Operations, gate_verdicts
from tests.conftest import find_binary
from tests.private_postgres import PrivateServer, private_server

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "sources.md").read_text()
FIRST_DAY, LAST_DAY = date(2024, 1, 1), date(2024, 1, 10)
PASSWORD = "change-me"
SHOP = """
create schema shop;
create table shop.customers (id bigint primary key, created_at timestamptz, email text, country text,
    password_hash text, updated_at timestamptz not null);
create table shop.products (id bigint primary key, title text, brand text, department text, category text,
    subcategory text, is_service bool, updated_at timestamptz not null);
create table shop.orders (id bigint primary key, customer_id bigint, placed_at timestamptz, channel text,
    total numeric(10, 2), currency char(3), is_cancelled bool default false, updated_at timestamptz not null);
create table shop.order_lines (id bigint primary key, order_id bigint, product_id bigint, quantity int,
    price numeric(10, 2), discount numeric(10, 2));
"""
ROWS = """
insert into shop.customers
select i, '2023-12-01', 'c' || i || '@example.org', 'US', 'secret', '2023-12-01' from generate_series(1, 20) as i;
insert into shop.products
select i, 'product ' || i, 'b', 'd', 'c', 's', false, '2023-12-01' from generate_series(1, 10) as i;
insert into shop.orders
select i, 1 + i % 20, timestamptz '2024-01-01 15:00+00' + (i / 10) * interval '1 day', 'web', 5.98, 'USD', false,
    timestamptz '2024-01-01 15:00+00' + (i / 10) * interval '1 day'
from generate_series(0, 109) as i;
insert into shop.order_lines select i, i, 1 + i % 10, 2, 5.98, 0 from generate_series(0, 109) as i;
"""


def block(name: str, language: str = "sql") -> str:
    """The block that the page marks with `<!-- test: name -->`."""
    found = re.search(rf"<!-- test: {name} -->\n```{language}\n(.*?)```", PAGE, re.S)
    assert found, f"docs/sources.md has no block marked {name!r}"
    return found.group(1)


def psql(server: PrivateServer, *scripts: str) -> None:
    for script in scripts:
        command = [
            "psql",
            "-h",
            str(server.folder),
            "-U",
            "shopwright",
            "-d",
            "postgres",
            "-v",
            "ON_ERROR_STOP=1",
            "-q",
        ]
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def cluster() -> Iterator[PrivateServer]:
    find_binary("psql")
    with private_server(find_binary, authentication="scram-sha-256") as running:
        yield running


@pytest.fixture
def server(cluster: PrivateServer) -> Iterator[PrivateServer]:
    psql(cluster, SHOP, ROWS, block("cursor"))
    psql(
        cluster,
        "update shop.order_lines as l set updated_at = o.updated_at from shop.orders as o where o.id = l.order_id",
    )
    psql(cluster, "alter table shop.order_lines disable trigger touch")
    psql(
        cluster,
        "update shop.order_lines as l set updated_at = o.updated_at from shop.orders as o where o.id = l.order_id",
    )
    psql(cluster, block("views"), block("role"))
    yield cluster
    psql(
        cluster,
        "drop schema shop, shopwright cascade; drop owned by shopwright_reader; drop role shopwright_reader;",
    )


@pytest.fixture
def settings(server: PrivateServer, configure: Callable[..., Settings]) -> Settings:
    return configure(**setting_values(server))


def setting_values(server: PrivateServer) -> dict[str, object]:
    """The page's settings, for this server and these days."""
    lines = re.findall(r"^SHOPWRIGHT_(\w+)=(.*)$", block("settings", "sh"), re.M)
    values: dict[str, object] = {name.lower(): value for name, value in lines}
    assert set(values) == {"source", "source_url", "source_schema", "last_day"}
    assert (
        values["source_url"]
        == f"postgresql://shopwright_reader:{PASSWORD}@db.example.org:5432/shop?sslmode=verify-full"
    )
    values["source_url"] = server.url_of("shopwright_reader", PASSWORD)
    return {**values, "shop_id": "pg_shop", "first_day": FIRST_DAY, "bootstrap_day": LAST_DAY}


def test_the_page_leads_to_a_shop_that_is_published(settings: Settings, server: PrivateServer) -> None:
    findings = list(check_source(settings))
    assert [finding.is_ok for finding in findings] == [True], [finding.line() for finding in findings]
    assert "customers, products, orders, order_lines" in findings[0].observed
    land_days(FIRST_DAY, LAST_DAY)
    judged = gate_arrivals(LAST_DAY)["tables"]
    told = {table: (entry["status"], entry["rows_in"], entry["rows_published"]) for table, entry in judged.items()}
    assert told == {
        "customers": ("passed", 20, 20),
        "products": ("passed", 10, 10),
        "orders": ("passed", 100, 100),
        "order_lines": ("passed", 100, 100),
    }
    landed = Landing(settings.shop_dir / "landing").batches()
    land_days(FIRST_DAY, LAST_DAY)
    assert Landing(settings.shop_dir / "landing").batches() == landed, "the same days again are the same batches"
    # A cancelled order, a corrected price and a line of an old order come on the day on which they were written.
    psql(
        server,
        "update shop.orders set is_cancelled = true, updated_at = '2024-01-11 18:00+00' where id = 3;"
        "update shop.order_lines set price = 3, updated_at = '2024-01-11 18:00+00' where id = 4;",
    )
    day = LAST_DAY + timedelta(days=1)
    summary = land_days(day, day)
    rows = {entry.table: Landing(settings.shop_dir / "landing").read(entry) for entry in landed}
    assert set(rows) == set(told)
    assert (summary["orders"]["rows"], summary["order_lines"]["rows"]) == (11, 12)
    gate_arrivals(day)


def test_the_role_reads_the_views_and_nothing_behind_them(server: PrivateServer) -> None:
    connect = {"host": str(server.folder), "user": "shopwright_reader", "password": PASSWORD, "dbname": "postgres"}
    with psycopg.connect(**connect) as connection:
        assert connection.execute("select count(*) from shopwright.customers").fetchone() == (20,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select password_hash from shop.customers")
    with psycopg.connect(**connect) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("delete from shopwright.customers")


def test_the_trigger_fills_the_cursor_on_every_write(server: PrivateServer) -> None:
    psql(server, "alter table shop.order_lines enable trigger touch")
    psql(server, "update shop.order_lines set quantity = 3 where id = 1")
    with psycopg.connect(host=str(server.folder), user="shopwright", dbname="postgres") as connection:
        query = "select array_agg(id) from shop.order_lines where updated_at > now() - interval '1 hour'"
        assert connection.execute(query).fetchone() == ([1],)


CHANGES = {
    "renamed": ("alter view shopwright.order_lines rename amount_cents to amount", "amount_cents is missing"),
    "retyped": (
        "drop view shopwright.order_lines; "
        + block("views")[block("views").index("create view shopwright.order_lines") :].replace(
            "l.product_id::text as product_id", "l.product_id as product_id"
        )
        + "; grant select on shopwright.order_lines to shopwright_reader",
        "product_id: expected string, got int64",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_column_that_breaks_the_contract_holds_the_batch(
    settings: Settings, server: PrivateServer, name: str
) -> None:
    statement, told = CHANGES[name]
    psql(server, statement)
    assert not all(finding.is_ok for finding in check_source(settings)), "doctor tells it before"
    land_days(FIRST_DAY, LAST_DAY)
    with pytest.raises(DataFailed, match="order_lines"):
        gate_arrivals(LAST_DAY)
    (verdict,) = Operations.from_settings(settings).rows(gate_verdicts, gate="arrivals", object="order_lines")
    assert verdict["status"] == "failed"
    assert told in str(verdict["rules"])
    assert not (settings.shop_dir / "raw" / "current.json").exists()


def test_a_new_column_is_delivered_and_warned_of(settings: Settings, server: PrivateServer) -> None:
    view = block("views")[block("views").index("create view shopwright.customers") :].split(";")[0]
    psql(
        server,
        view.replace("create view", "create or replace view").replace(
            "updated_at\nfrom", "updated_at, id as number\nfrom"
        ),
    )
    land_days(FIRST_DAY, LAST_DAY)
    assert gate_arrivals(LAST_DAY)["tables"]["customers"]["status"] == "passed"
    (verdict,) = Operations.from_settings(settings).rows(gate_verdicts, gate="arrivals", object="customers")
    (warning,) = [rule for rule in verdict["rules"] if rule["rule"] == "unknown_columns"]
    assert (warning["status"], warning["observed"]) == ("warned", "1 more, not stored: number")


def test_the_pages_commands_run_as_they_stand(server: PrivateServer, tmp_path: Path) -> None:
    """The settings go into `.env`; `shopwright doctor` is told them here by the environment, which says the same."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    script = block("settings", "sh").replace(
        f"postgresql://shopwright_reader:{PASSWORD}@db.example.org:5432/shop?sslmode=verify-full",
        server.url_of("shopwright_reader", PASSWORD),
    )
    write = script[: script.index(".venv/bin/shopwright")]
    subprocess.run(["sh", "-ec", write], cwd=checkout, check=True)
    lines = dict(line.split("=", 1) for line in (checkout / ".env").read_text().splitlines())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHOPWRIGHT_")}
    environment |= lines | {"SHOPWRIGHT_STATE_DIR": str(tmp_path / "var")}
    done = subprocess.run(
        [str(ROOT / ".venv/bin/shopwright"), "doctor"], env=environment, capture_output=True, text=True, check=False
    )
    assert "ok   source     schema shopwright can be read" in done.stdout, done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr
