"""No feature as of a day depends on what happened on that day or later, and the check would notice one that did."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ml.shop.generated import small_shop
from ml.stores.dbt_run import build_scratch
from tests.dbt_projects import copy_project
from tests.raw_shop import publish_raw, shop_settings

FIRST_DAY = date(2024, 1, 1)
LAST_DAY = FIRST_DAY + timedelta(days=27)
AS_OF = date(2024, 1, 15)
LEAKING_FEATURE = """
with

purchases as (
    select * from {{ ref('int_purchases__sequenced') }}
),

calendar as (
    select distinct as_of_date from {{ ref('int_calendar__expanded') }}
),

final as (
    select
        purchases.customer_id,
        calendar.as_of_date,
        count(*) as count_purchases
    from purchases
    inner join calendar on purchases.order_date <= calendar.as_of_date
    group by purchases.customer_id, calendar.as_of_date
)

select * from final
"""
CONTRACT = """
models:
  - name: feat_leaking
    columns:
      - {name: customer_id, data_type: varchar}
      - {name: as_of_date, data_type: date}
      - {name: count_purchases, data_type: bigint}
"""


def differing_rows(first: Path, second: Path, mart: str, days: str) -> tuple[int, int]:
    """Rows of a feature mart that only one of two databases has, and rows that both have, for some as-of dates."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{first}' as a (read_only)")
        connection.execute(f"attach '{second}' as b (read_only)")
        of_a, of_b = (connection.table(f"{name}.features.{mart}").filter(f"as_of_date {days}") for name in "ab")
        differing = len(of_a.except_(of_b).fetchall()) + len(of_b.except_(of_a).fetchall())
        return differing, len(of_a.intersect(of_b).fetchall())


def another_future(table: str, rows: pa.Table) -> pa.Table:
    """From the morning of AS_OF on, orders go to other customers and half the lines are gone, the rest dearer."""
    if table not in ("orders", "order_lines"):
        return rows
    cut = pa.scalar(datetime(2024, 1, 15, 5, tzinfo=UTC), pa.timestamp("us", tz="UTC"))  # midnight in New York
    is_future = pc.greater_equal(rows.column("ordered_at"), cut)
    past, future = rows.filter(pc.invert(is_future)), rows.filter(is_future)
    assert past.num_rows > 50
    assert future.num_rows > 50
    if table == "orders":
        customers = future.column("customer_id").to_pylist()
        return pa.concat_tables([past, _replace(future, "customer_id", pa.array(customers[1:] + customers[:1]))])
    future = future.take(list(range(0, future.num_rows, 2)))
    return pa.concat_tables([past, _replace(future, "amount_cents", pc.add(future.column("amount_cents"), 1000))])


def _replace(rows: pa.Table, column: str, values: pa.Array) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(column), rows.schema.field(column), values)


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The features of one shop with two futures; its project has a planted leaking feature beside the real ones."""
    project = copy_project(tmp_path_factory.mktemp("planted"))
    (project / "models" / "marts" / "features" / "feat_leaking.sql").write_text(LEAKING_FEATURE)
    (project / "models" / "marts" / "features" / "_planted.yml").write_text(CONTRACT)
    shop = small_shop(tmp_path_factory.mktemp("shop"), FIRST_DAY, 28, customers=40, products=50)
    built = []
    for future in (lambda _table, rows: rows, another_future):
        settings = shop_settings(tmp_path_factory.mktemp("future"), shop)
        version = publish_raw(settings, [(FIRST_DAY, LAST_DAY)], future)
        built.append(build_scratch(settings, version.id, LAST_DAY, project).database)
    return built[0], built[1]


@pytest.mark.parametrize("mart", ["feat_customer", "feat_product"])
def test_features_as_of_a_day_do_not_change_with_its_future(databases: tuple[Path, Path], mart: str) -> None:
    differing, common = differing_rows(*databases, mart, f"<= date '{AS_OF}'")
    assert common > 50
    assert differing == 0
    assert differing_rows(*databases, mart, f"> date '{AS_OF}'")[0] > 0, "the futures are not different"


def test_the_check_notices_a_feature_that_counts_its_own_day(databases: tuple[Path, Path]) -> None:
    differing, _ = differing_rows(*databases, "feat_leaking", f"<= date '{AS_OF}'")
    assert differing > 0
