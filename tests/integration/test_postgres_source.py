"""The PostgreSQL source against a real server: what a day holds, what is refused, and restarts in the middle."""

import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings, wall_clock
from ml.shop import postgres, postgres_copy, postgres_settling
from ml.shop.contract import CONTRACT
from ml.shop.files import FilesSource
from ml.shop.generated import small_shop
from ml.shop.postgres import PostgresSource
from tests.conftest import find_binary
from tests.postgres_tables import (
    CANARY,
    MONDAY,
    TABLES,
    TUESDAY,
    WEDNESDAY,
    execute,
    ids,
    reader_settings,
    write_orders,
)
from tests.private_postgres import PrivateServer, private_server


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateServer]:
    with private_server(find_binary, authentication="scram-sha-256") as running:
        execute(running, f"create role reader login password '{CANARY}'")
        yield running


@pytest.fixture
def shop(server: PrivateServer) -> PrivateServer:
    execute(
        server, TABLES, "grant usage on schema shop to reader", "grant select on all tables in schema shop to reader"
    )
    return server


@pytest.fixture
def settings(configure: Callable[..., Settings], shop: PrivateServer) -> Settings:
    return configure(**reader_settings(shop))


def test_a_day_is_from_midnight_to_before_the_next_one_by_the_time_of_writing(shop, settings):
    midnight = settings.day_start(TUESDAY)
    assert midnight.hour == 4, "New York in summer"
    moment = timedelta(microseconds=1)
    write_orders(
        shop,
        {
            "last of Monday": midnight - moment,
            "first of Tuesday": midnight,
            "last of Tuesday": midnight + timedelta(days=1) - moment,
            "first of Wednesday": midnight + timedelta(days=1),
        },
    )
    write_orders(shop, {"late": midnight + timedelta(hours=1)}, ordered_at="2024-04-01")
    source = PostgresSource(settings)
    assert ids(source, TUESDAY, WEDNESDAY) == ["first of Tuesday", "late", "last of Tuesday"]
    assert ids(source, MONDAY, TUESDAY) == ["last of Monday"]
    assert ids(source, MONDAY, WEDNESDAY) == ["last of Monday", "first of Tuesday", "late", "last of Tuesday"]


def test_the_first_load_brings_what_is_older_too(shop, settings):
    write_orders(
        shop, {"ancient": "1999-01-01 00:00+00", "Monday": "2024-05-06 12:00+00", "later": "2024-05-09 12:00+00"}
    )
    source = PostgresSource(settings)
    assert ids(source, settings.first_day, TUESDAY) == ["ancient", "Monday"]
    assert ids(source, settings.first_day + timedelta(days=1), TUESDAY) == ["Monday"]


def test_rows_of_one_moment_come_in_the_order_of_their_key(shop, settings):
    orders = [f"o{number:03d}" for number in range(200)]
    random.Random(1).shuffle(orders)  # noqa: S311 - a test's order
    write_orders(shop, dict.fromkeys(orders, "2024-05-06 12:00+00"))
    assert ids(PostgresSource(settings), MONDAY, TUESDAY) == sorted(orders)


def test_every_type_arrives_as_the_contract_has_it(shop, settings):
    execute(
        shop,
        """create type shop.channel as enum ('web', 'store')""",
        """create domain shop.cents as bigint check (value >= 0)""",
        """alter table shop.orders alter total_amount_cents type shop.cents, alter store_id type shop.channel
           using null, alter ordered_at type timestamp, add column extra jsonb, add column on_day date,
           add column token uuid, add column rate numeric(10, 4), add column is_gift bool, add column tags text[]""",
        """insert into shop.orders values ('a,"b"\nc', '', '2024-05-06 10:00:00.123456', 'web', 5,
           E'\\\\.', '2024-05-06 12:00+00',
           '{"a": 1}', '2024-02-29', '00000000-0000-0000-0000-000000000001', 1.25, true, '{x,y}')""",
        """insert into shop.orders (order_id, updated_at) values ('nächste', '2024-05-06 12:00+00')""",
    )
    rows = PostgresSource(settings).read("orders", MONDAY, TUESDAY).rows
    moment = pa.timestamp("us", tz="UTC")
    types = {field.name: field.type for field in rows.schema}
    assert types == {
        **dict.fromkeys(("order_id", "customer_id", "store_id", "currency", "extra", "token", "tags"), pa.string()),
        **dict.fromkeys(("ordered_at", "updated_at"), moment),
        "total_amount_cents": pa.int64(),
        "on_day": pa.date32(),
        "rate": pa.float64(),
        "is_gift": pa.bool_(),
    }
    first, second = rows.to_pylist()
    assert (first["order_id"], first["customer_id"], first["currency"]) == ('a,"b"\nc', "", "\\.")
    assert first["ordered_at"] == datetime(2024, 5, 6, 10, 0, 0, 123456, UTC)
    assert (first["on_day"], first["rate"], first["is_gift"], first["store_id"]) == (
        date(2024, 2, 29),
        1.25,
        True,
        "web",
    )
    assert {name for name, value in second.items() if value is not None} == {"order_id", "updated_at"}
    assert second["order_id"] == "nächste"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_shop_comes_alike_from_files_and_from_the_database(shop, configure, tmp_path, seed):
    days = [date(2024, 1, 1) + timedelta(days=number) for number in range(6)]
    folder = small_shop(tmp_path / "shop", days[0], len(days), customers=20, seed=seed)
    clock = {"timezone": "America/New_York", "first_day": days[0], "bootstrap_day": days[0], "last_day": "none"}
    files = FilesSource(configure(source="files", files_dir=folder, **clock))
    given = {}
    execute(shop, "alter table shop.orders drop updated_at", "alter table shop.order_lines drop updated_at")
    for table in ("orders", "order_lines"):
        execute(shop, f"alter table shop.{table} add column updated_at timestamptz")
        given[table] = [files.read(table, day, day + timedelta(days=1)).rows for day in days]
        with psycopg.connect(host=str(shop.folder), user="shopwright", dbname="postgres") as connection:
            for day, rows in zip(days, given[table], strict=True):
                names = ", ".join(rows.column_names)
                with connection.cursor().copy(f"copy shop.{table} ({names}, updated_at) from stdin") as copy:
                    for row in rows.to_pylist():
                        copy.write_row([*row.values(), datetime(day.year, day.month, day.day, 20, tzinfo=UTC)])
    settings = configure(**reader_settings(shop, first_day=days[0], bootstrap_day=days[0]))
    for table, by_day in given.items():
        assert sum(rows.num_rows for rows in by_day) > 0
        key = [(name, "ascending") for name in CONTRACT[table].key]
        for day, rows in zip(days, by_day, strict=True):
            found = PostgresSource(settings).read(table, day, day + timedelta(days=1)).rows
            assert found.drop_columns("updated_at").sort_by(key).equals(rows.sort_by(key)), f"{table} on {day}"


def test_a_cursor_of_another_name_is_delivered_as_updated_at(shop, configure):
    execute(shop, "alter table shop.orders rename updated_at to modified")
    execute(shop, "insert into shop.orders (order_id, modified) values ('o1', '2024-05-06 12:00+00')")
    rows = (
        PostgresSource(configure(**reader_settings(shop, source_cursor="modified")))
        .read("orders", MONDAY, TUESDAY)
        .rows
    )
    assert rows["updated_at"].to_pylist() == [datetime(2024, 5, 6, 12, tzinfo=UTC)]
    assert "modified" not in rows.column_names


def test_entities_without_the_cursor_are_a_snapshot_and_events_are_refused(shop, settings):
    execute(shop, "insert into shop.products values ('p2', 'b', true), ('p1', 'a', false)")
    execute(shop, "alter table shop.orders drop updated_at")
    source = PostgresSource(settings)
    assert source.read("products", MONDAY, TUESDAY).rows["product_id"].to_pylist() == ["p1", "p2"]
    with pytest.raises(DataFailed, match=r"shop\.orders: no column updated_at \(SHOPWRIGHT_SOURCE_CURSOR\)"):
        source.read("orders", MONDAY, TUESDAY)
    assert any("orders: no column updated_at" in problem for problem in source.unfit_columns())


def test_a_cursor_that_is_no_moment_is_refused(shop, settings):
    execute(shop, "alter table shop.orders alter updated_at type text")
    with pytest.raises(DataFailed, match="updated_at is text; a cursor must be a timestamp"):
        PostgresSource(settings).read("orders", MONDAY, TUESDAY)


def test_rows_without_a_moment_are_refused(shop, settings):
    write_orders(shop, {"a": None, "b": "infinity", "c": "2024-05-06 12:00+00"})
    with pytest.raises(DataFailed, match=r"shop\.orders: 2 rows have no updated_at"):
        PostgresSource(settings).read("orders", MONDAY, TUESDAY)


def test_an_infinite_time_is_refused_without_its_row(shop, settings):
    write_orders(shop, {"a": "2024-05-06 12:00+00"}, ordered_at="infinity")
    with pytest.raises(DataFailed, match=r"shop\.orders: a value has no form that can be read"):
        PostgresSource(settings).read("orders", MONDAY, TUESDAY)


def test_what_the_role_may_not_read_is_not_there(shop, settings):
    source = PostgresSource(settings)
    assert source.tables() == ("customers", "products", "orders", "order_lines")
    execute(
        shop, "revoke select on shop.customers from reader", "grant select (customer_id) on shop.customers to reader"
    )
    assert source.read("customers", MONDAY, TUESDAY).rows.column_names == ["customer_id"]
    execute(shop, "revoke select on shop.orders from reader")
    with pytest.raises(DataFailed, match="required table orders is missing, or the role may not read it"):
        source.tables()
    execute(shop, "revoke usage on schema shop from reader")
    with pytest.raises(DataFailed, match="USAGE on the schema"):
        source.read("customers", MONDAY, TUESDAY)


def test_the_session_cannot_write_even_where_the_role_could(shop, settings):
    execute(shop, "grant insert on shop.products to reader")
    from ml.shop.postgres_session import session

    with pytest.raises(ToolFailed, match="SQLSTATE 25006"), session(settings) as connection:
        connection.execute("insert into shop.products values ('p', 'x', true)")


def test_a_day_that_has_not_ended_is_refused(settings):
    tomorrow = wall_clock().date() + timedelta(days=2)
    with pytest.raises(DataFailed, match="has not ended by the source database's clock"):
        PostgresSource(settings).read("orders", tomorrow, tomorrow + timedelta(days=1))


def read_while_a_writer_is_busy(shop: PrivateServer, settings: Settings) -> list[str]:
    """Read yesterday (UTC) while a transaction has written a row of it and not ended."""
    today = wall_clock().date()
    noon = datetime.combine(today, datetime.min.time(), UTC) - timedelta(hours=12)
    found: list[list[str]] = []

    def read() -> None:
        found.append(ids(PostgresSource(settings), today - timedelta(days=1), today))

    with psycopg.connect(host=str(shop.folder), user="shopwright", dbname="postgres") as writer:
        writer.execute("insert into shop.orders (order_id, updated_at) values ('busy', %s)", (noon,))
        reader = threading.Thread(target=read)
        reader.start()
        reader.join(3)
        was_waiting = reader.is_alive()
        writer.commit()
        reader.join(60)
    assert was_waiting == (found == [["busy"]])
    return found[0]


def test_a_day_waits_for_those_who_are_still_writing_it(shop, configure, monkeypatch):
    settings = configure(**reader_settings(shop, timezone="UTC"))
    assert read_while_a_writer_is_busy(shop, settings) == ["busy"]
    execute(shop, "delete from shop.orders")
    monkeypatch.setattr(postgres, "await_settled", lambda *_arguments: None)
    assert read_while_a_writer_is_busy(shop, settings) == [], "without the wait the row is lost"


def test_a_writer_that_never_ends_fails_the_tool(shop, configure, monkeypatch):
    monkeypatch.setattr(postgres_settling, "PATIENCE_SECONDS", 0.3)
    settings = configure(**reader_settings(shop, timezone="UTC"))
    today = wall_clock().date()
    with psycopg.connect(host=str(shop.folder), user="shopwright", dbname="postgres") as writer:
        writer.execute("insert into shop.orders (order_id, updated_at) values ('busy', now())")
        with pytest.raises(ToolFailed, match=r"1 transactions .* are still open"):
            PostgresSource(settings).read("orders", today - timedelta(days=1), today)


def test_who_may_know_when_a_transaction_began_does_not_wait_for_later_ones(shop, configure, monkeypatch):
    monkeypatch.setattr(postgres_settling, "PATIENCE_SECONDS", 0.3)
    settings = configure(**reader_settings(shop, timezone="UTC"))
    today = wall_clock().date()
    execute(shop, "grant pg_monitor to reader")
    try:
        with psycopg.connect(host=str(shop.folder), user="shopwright", dbname="postgres") as writer:
            writer.execute("insert into shop.orders (order_id, updated_at) values ('today', now())")
            assert ids(PostgresSource(settings), today - timedelta(days=1), today) == []
    finally:
        execute(shop, "revoke pg_monitor from reader")


ROWS = 60_000
SHARING_A_MOMENT = 70


@pytest.fixture
def many_lines(shop: PrivateServer) -> PrivateServer:
    """More than what fits into the buffers between a server and us, many rows of each moment."""
    execute(
        shop,
        f"""insert into shop.order_lines
            select 'l' || i, 'o' || i, repeat('p', 80), '2024-05-01', 1, 1, 0, 'USD',
                timestamptz '2024-05-06 12:00+00' + (i / {SHARING_A_MOMENT}) * interval '1 s'
            from generate_series(1, {ROWS}) as i""",  # noqa: S608 - our own numbers
    )
    return shop


def read_with_a_restart(settings: Settings, server: PrivateServer, seed: int, monkeypatch: Any) -> list[str]:
    """Read the lines while the server is restarted after a piece that the seed chooses."""
    monkeypatch.setattr(postgres_copy, "CHUNK_ROWS", 1000)
    restart_at = random.Random(seed).randrange(3, 12)  # noqa: S311 - a seed's choice
    pieces: list[int] = []
    convert = postgres_copy.as_arrow

    def counting(lines: list[bytes], columns: list[Any]) -> pa.Table:
        pieces.append(len(lines))
        if len(pieces) == restart_at:
            server.restart()
        return convert(lines, columns)

    monkeypatch.setattr(postgres_copy, "as_arrow", counting)
    rows = PostgresSource(settings).read("order_lines", MONDAY, TUESDAY).rows
    assert sum(pieces) > ROWS, "the restart came in the middle, and some rows were read twice"
    found: list[str] = rows["order_line_id"].to_pylist()
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_restart_in_the_middle_loses_nothing_and_doubles_nothing(many_lines, settings, seed, monkeypatch):
    undisturbed = PostgresSource(settings).read("order_lines", MONDAY, TUESDAY).rows["order_line_id"].to_pylist()
    assert len(undisturbed) == len(set(undisturbed)) == ROWS
    assert read_with_a_restart(settings, many_lines, seed, monkeypatch) == undisturbed


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_the_care_for_the_newest_moment_rows_would_be_doubled(many_lines, settings, seed, monkeypatch):
    careful = postgres.go_on_from
    monkeypatch.setattr(postgres, "go_on_from", lambda pieces, *rest: (pieces, careful(pieces, *rest)[1]))
    found = read_with_a_restart(settings, many_lines, seed, monkeypatch)
    assert set(found) == {f"l{number}" for number in range(1, ROWS + 1)}
    assert len(found) > ROWS


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_a_second_conversation_a_restart_fails_the_read(many_lines, settings, seed, monkeypatch):
    monkeypatch.setattr(postgres, "WAITS", ())
    with pytest.raises(ToolFailed, match="ended the conversation"):
        read_with_a_restart(settings, many_lines, seed, monkeypatch)


def test_a_database_that_is_down_fails_the_tool_and_one_that_comes_back_is_read(shop, settings, monkeypatch):
    write_orders(shop, {"o1": "2024-05-06 12:00+00"})
    monkeypatch.setattr(postgres, "WAITS", (0.05, 0.05))
    shop.stop()
    try:
        with pytest.raises(ToolFailed, match="cannot be reached; 3 tries") as failed:
            PostgresSource(settings).tables()
        assert CANARY not in str(failed.value)
        monkeypatch.setattr(postgres, "WAITS", (0.5,) * 100)
        found: list[list[str]] = []
        reader = threading.Thread(target=lambda: found.append(ids(PostgresSource(settings), MONDAY, TUESDAY)))
        reader.start()
    finally:
        shop.start()
    reader.join(60)
    assert found == [["o1"]]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://reader:wrong-{canary}@/postgres?host={host}", "refused the user or the password"),
        ("postgresql://nobody_such:{canary}@/postgres?host={host}", "refused the user or the password"),
        ("postgresql://shopwright:{canary}@/no_such?host={host}", "no such database"),
        ("postgresql://reader:a:{canary}@x:{canary}@[::1/postgres", "expected postgresql://"),
        ("mysql://reader:{canary}@db/shop", "expected postgresql://"),
        ("postgresql://reader:{canary}@/postgres?host={host}&no_such_option=1", "expected postgresql://"),
    ],
)
def test_what_will_not_connect_is_told_without_the_password(shop, configure, monkeypatch, url, told):
    monkeypatch.setattr(postgres, "WAITS", ())
    settings = configure(**reader_settings(shop, source_url=url.format(canary=CANARY, host=shop.folder)))
    with pytest.raises(ToolFailed) as failed:
        PostgresSource(settings).tables()
    shown = "".join(str(part) for part in (failed.value, failed.value.__cause__))
    assert told in shown
    assert CANARY not in shown
    assert failed.value.__suppress_context__ or failed.value.__context__ is None, "nor does a traceback show it"
