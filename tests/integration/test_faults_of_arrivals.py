"""Deliveries that drift, come late, twice or out of order, hold nothing, or are cut off: each with its protection and,
with the protection removed, with the bad data getting through."""

import random
import shutil
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import expectations.arrivals as arrivals
import expectations.conservation as conservation
import expectations.gates as gates
import expectations.rows as judged_rows
from ml.cli.ingest import gate_arrivals, land_days
from ml.lineage import impact
from ml.lineage.manifest import compiled_project
from ml.outcomes import DataFailed
from ml.settings import get_settings
from ml.shop.breakages import break_shop
from ml.shop.contract import CONTRACT
from ml.shop.delivery import Delivery
from ml.shop.files import FilesSource
from ml.shop.generated import day_file, small_shop, write_rows
from ml.stores.operations import delivered_schemas
from ml.stores.raw import BATCHES, RawStore
from ml.stores.warehouse import stage_marts
from tests.gate_records import count_alerts, newest_verdict, open_incidents, operations, raw_version

FIRST = date(2024, 1, 2)
HISTORY_END = FIRST + timedelta(days=12)
DAY = HISTORY_END + timedelta(days=2)  # a Tuesday, on which no promotions arrive
LAST = DAY + timedelta(days=2)
SEEDS = [0, pytest.param(1, marks=pytest.mark.full), pytest.param(2, marks=pytest.mark.full)]


def settle(configure, folder):
    return configure(
        source="files",
        files_dir=folder / "shop",
        state_dir=folder / "var",
        shop_id="tiny",
        first_day=FIRST,
        bootstrap_day=HISTORY_END,
        last_day=LAST,
    )


@pytest.fixture(autouse=True)
def _known_effect(request, monkeypatch):
    """What depends on a column is told at once: finding out means parsing the warehouse's project."""
    if "real_effect" not in request.fixturenames:
        monkeypatch.setattr(impact, "affected_by", lambda _settings, table, columns: [f"model of {table}.{columns[0]}"])


@pytest.fixture
def real_effect(monkeypatch):
    """Asks for what really depends on a column, by the project as it is: nothing has been built."""
    monkeypatch.setattr(impact, "built_manifest", compiled_project)


@pytest.fixture(scope="module")
def histories(tmp_path_factory):
    """Seed -> a shop whose days before DAY have passed the gate, made once."""
    return {}, tmp_path_factory


@pytest.fixture(params=SEEDS)
def shop(request, histories, configure, tmp_path):
    """A copy of the shop of one seed; returns the folder of its files."""
    made, factory = histories
    if request.param not in made:
        made[request.param] = folder = factory.mktemp(f"seed{request.param}")
        small_shop(folder / "shop", FIRST, 17, customers=40, products=50, seed=request.param)
        settle(configure, folder)
        ingest(DAY - timedelta(days=1), FIRST)
    shutil.copytree(made[request.param], tmp_path / "copy")
    settle(configure, tmp_path / "copy")
    random.seed(request.param)
    return tmp_path / "copy" / "shop"


def ingest(day, first_day=None):
    land_days(first_day or day, day)
    gate_arrivals(day)


def raw_rows(table="order_lines", day=None):
    raw = RawStore(get_settings())
    rows = raw.versions.read(raw.versions.current(), table)
    name = "batch_date" if table == BATCHES else "_batch_date"
    return rows if day is None else rows.filter(pc.field(name) == pa.scalar(day, pa.date32()))


def rewrite(shop, change, table="order_lines", day=DAY):
    path = day_file(shop, table, day)
    pq.write_table(change(pq.read_table(path)), path)


def without_protection(monkeypatch, *tables):
    """The gate lets everything through: no structure, no rules, no comparison of forms."""
    monkeypatch.setattr(judged_rows, "check_structure", lambda *_: [])
    monkeypatch.setattr(gates, "with_form", lambda judged, *_: judged)
    for table in tables:
        monkeypatch.setitem(arrivals.ARRIVAL_SUITES, table, lambda _arrival: [])


# Schema drift


def renamed(rows):
    return rows.rename_columns(["paid" if name == "amount_cents" else name for name in rows.column_names])


def dropped(rows):
    return rows.drop_columns(["amount_cents"])


def retyped(rows):
    position = rows.schema.get_field_index("order_id")
    return rows.set_column(position, "order_id", pa.array(range(rows.num_rows)))


def in_euros(rows):
    position = rows.schema.get_field_index("amount_cents")
    return rows.set_column(position, "amount_cents", pc.divide(rows.column("amount_cents"), 100))


BREAKING = {
    renamed: "amount_cents is missing; new column paid (int64) has values like it: renamed?",
    dropped: "amount_cents is missing",
    retyped: "order_id was retyped: string -> int64",
    in_euros: "whole units (such as euros) for cents?",
}


@pytest.mark.parametrize("drift", BREAKING)
def test_a_breaking_drift_holds_the_day_and_tells_the_difference_and_its_effect_once(shop, drift, monkeypatch):
    rewrite(shop, drift)
    before, told = raw_version(), count_alerts()
    land_days(DAY, DAY)
    for _ in range(2):
        with pytest.raises(DataFailed) as stopped:
            gate_arrivals(DAY)
    assert raw_version() == before, "the next step would see the drifted rows"
    assert set(open_incidents()) == {("schema_changed", "order_lines", "form")}
    incident = open_incidents()["schema_changed", "order_lines", "form"]
    effect = f"It would affect model of order_lines.{'order_id' if drift is retyped else 'amount_cents'}"
    for message in (str(stopped.value), incident["body"]):
        assert BREAKING[drift] in message
        assert effect in message
    assert count_alerts() == told + 1
    assert operations().rows(delivered_schemas, table_name="order_lines")[-1]["change"] == "breaking"

    without_protection(monkeypatch, "order_lines")
    gate_arrivals(DAY)
    let_through = raw_rows(day=DAY)
    assert let_through.num_rows > 20
    if drift is in_euros:
        assert pc.max(let_through.column("amount_cents")).as_py() < 100
    elif drift is retyped:
        assert "0" in let_through.column("order_id").to_pylist()
    else:
        assert let_through.column("amount_cents").null_count == let_through.num_rows


@pytest.mark.full
def test_the_effect_of_a_drift_is_read_from_the_warehouse_s_own_models(real_effect, shop):
    rewrite(shop, renamed)
    with pytest.raises(DataFailed) as stopped:
        ingest(DAY)
    told = str(stopped.value).split("It would affect ")[1]
    assert "fct_order_lines" in told
    assert "feat_customer" in told


def test_a_new_column_goes_on_with_one_warning_that_closes_by_itself(shop):
    for day in (DAY, DAY + timedelta(days=1)):
        rewrite(shop, lambda rows: rows.append_column("colour", pa.array(["red"] * rows.num_rows)), day=day)
    ingest(DAY)
    assert "colour" not in raw_rows(day=DAY).column_names
    assert {key: row["severity"] for key, row in open_incidents().items()} == {
        ("schema_changed", "order_lines", "form_added"): "warn"
    }
    assert operations().rows(delivered_schemas, table_name="order_lines")[-1]["difference"] == [
        "new column colour (string), not stored"
    ]
    ingest(DAY + timedelta(days=1))
    assert open_incidents() == {}
    assert len(operations().rows(delivered_schemas, table_name="order_lines")) == 2


def interactions(day, kinds):
    return [
        {
            "interaction_id": f"{day}-{number}",
            "customer_id": "c0001",
            "product_id": "p0001",
            "occurred_at": get_settings().day_start(day) + timedelta(hours=12),
            "interaction_type": kind,
        }
        for number, kind in enumerate(kinds)
    ]


def test_a_new_kind_of_value_holds_its_table_and_the_rest_goes_on(shop, monkeypatch):
    kinds = ["view"] * 20 + ["hover"] * 10
    random.shuffle(kinds)
    write_rows(day_file(shop, "interactions", DAY), "interactions", interactions(DAY, kinds))
    ingest(DAY)
    assert raw_rows(day=DAY).num_rows > 20
    assert "interactions" not in RawStore(get_settings()).versions.current().tables()
    incident = open_incidents()["schema_changed", "interactions", "form"]
    assert "values that the contract does not name, in 10 rows" in incident["body"]
    assert "hover" not in incident["body"]

    without_protection(monkeypatch, "interactions")
    gate_arrivals(DAY)
    assert "hover" in raw_rows("interactions").column("interaction_type").to_pylist()


# Nothing in it


@pytest.mark.parametrize("breakage", ["empty_batch", "all_null_column"])
def test_a_delivery_with_nothing_in_it_does_not_pass_for_good(shop, breakage, monkeypatch):
    break_shop(shop, breakage, DAY)
    before = raw_version()
    with pytest.raises(DataFailed, match="order_lines"):
        ingest(DAY)
    assert raw_version() == before
    found = newest_verdict("order_lines", DAY)
    bad = {rule["rule"] for rule in found["rules"] if rule["status"] == "failed"}
    assert bad == (
        {"row_count", "freshness", "rows_per_day"}
        if breakage == "empty_batch"
        else {"amount_cents_null_share", "quarantined_share", "freshness", "rows_per_day"}
    )
    assert {key[0] for key in open_incidents()} == {"gate_failed"}

    without_protection(monkeypatch, "orders", "order_lines")
    gate_arrivals(DAY)
    assert raw_rows(BATCHES, day=DAY).num_rows > 2, "an empty day counts as delivered"
    assert raw_rows(day=DAY).column("amount_cents").drop_null().to_pylist() == []


# Cut off


@pytest.mark.parametrize("breakage", ["truncated_parquet", "zero_byte_parquet"])
def test_a_file_that_is_cut_off_is_refused_by_name_and_the_day_waits(shop, breakage, monkeypatch):
    whole = day_file(shop, "order_lines", DAY).read_bytes()
    break_shop(shop, breakage, DAY)
    before = raw_version()
    with pytest.raises(DataFailed, match=f"order_lines/{DAY}.parquet: not a readable Parquet file"):
        land_days(DAY, DAY)
    assert set(open_incidents()) == {("gate_failed", "order_lines", "source_readable")}
    with pytest.raises(DataFailed, match="order_lines"):
        gate_arrivals(DAY)
    assert raw_version() == before

    with monkeypatch.context() as unprotected:
        read = FilesSource.read

        def forgiving(source, table, first_day, end_day):
            try:
                return read(source, table, first_day, end_day)
            except DataFailed:
                return Delivery(table, CONTRACT[table].schema.empty_table(), "typed")

        unprotected.setattr(FilesSource, "read", forgiving)
        without_protection(unprotected, "order_lines")
        ingest(DAY)
        assert raw_version() != before
        assert raw_rows(day=DAY).num_rows == 0, "a day without its lines was published"

    day_file(shop, "order_lines", DAY).write_bytes(whole)
    ingest(DAY)
    assert raw_rows(day=DAY).num_rows == pq.read_metadata(day_file(shop, "order_lines", DAY)).num_rows
    assert open_incidents() == {}


# Late, twice, out of order


def disorder(shop, seed):
    """Two days of orders and lines shuffled, one line in twenty twice, and lines of three days before among them."""
    picks = random.Random(seed)  # noqa: S311 - no secret
    planted = {"late": 0, "twice": 0}
    for day in (DAY, DAY + timedelta(days=1)):
        planted["late"] += break_shop(shop, "late_lines", day)
        planted["twice"] += break_shop(shop, "duplicated_rows", day)
        for table in ("orders", "order_lines"):
            rewrite(shop, lambda rows: rows.take(picks.sample(range(rows.num_rows), rows.num_rows)), table, day)
    return planted


@pytest.mark.parametrize("seed", SEEDS)
def test_late_duplicated_and_shuffled_rows_add_up_to_the_clean_run(configure, tmp_path, seed):
    totals = {}
    for name in ("clean", "disordered"):
        folder = tmp_path / name
        small_shop(folder / "shop", FIRST, 17, customers=40, products=50, seed=seed)
        settings = settle(configure, folder)
        planted = disorder(folder / "shop", seed) if name == "disordered" else {"late": 0, "twice": 0}
        ingest(DAY - timedelta(days=1), FIRST)
        for day in (DAY, DAY + timedelta(days=1)):
            ingest(day)
        counts = raw_rows(BATCHES).filter(pc.field("table_name") == "order_lines")
        assert pc.sum(counts.column("rows_collapsed")).as_py() == planted["twice"]
        assert pc.sum(counts.column("rows_late")).as_py() == planted["late"]
        totals[name] = keys_and_content("orders"), keys_and_content("order_lines"), mart_rows(settings)
    orders, lines, marts = totals["clean"]
    assert len(orders) > 50
    assert len(lines) > 200
    assert {"fct_orders", "fct_order_lines", "feat_customer", "feat_product"} <= {mart for mart, _ in marts}
    assert totals["disordered"] == totals["clean"]


def keys_and_content(table):
    columns = [*CONTRACT[table].key, "_event_date", "_row_hash"]
    return sorted(tuple(row.values()) for row in raw_rows(table).select(columns).to_pylist())


def mart_rows(settings):
    """Hash per mart and part, but for the counts of what arrived in which batch."""
    staged = stage_marts(settings, DAY + timedelta(days=1))
    return {(part.table, part.partition): part.sha256 for part in staged.parts if part.table != "fct_row_conservation"}


def test_without_the_protection_duplicates_count_twice_and_late_rows_count_on_the_wrong_day(shop, monkeypatch):
    monkeypatch.setattr(arrivals, "collapse_duplicates", lambda _table, rows: rows)
    monkeypatch.setattr(
        conservation,
        "_event_dates",
        lambda _table, rows, _zone: pa.repeat(pa.scalar(DAY, pa.date32()), rows.num_rows),
    )
    late, twice = break_shop(shop, "late_lines", DAY), break_shop(shop, "duplicated_rows", DAY)
    delivered = pq.read_metadata(day_file(shop, "order_lines", DAY)).num_rows
    ingest(DAY)
    rows = raw_rows(day=DAY)
    assert late > 0
    assert rows.num_rows == delivered
    assert len(rows.column("order_line_id").unique()) == delivered - twice
    assert rows.column("_event_date").to_pylist() == [DAY] * delivered
