"""A small generated shop in contract form. `ml/shop/breakages.py` spoils it. Its data is made up.

The shop is laid out as the files source reads it: entity tables are whole files (`customers.parquet`), event
tables have one file per arrival day (`orders/2024-01-05.parquet`). Every customer shops on two weekdays and
buys favourites at a rhythm of one to three weeks, so that a recommender has something to learn. A day's rows
depend on the seed and the day only: a longer shop begins with the shorter one.
"""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml.shop.contract import CONTRACT

CURRENCY = "USD"
STORES = ("s1", "s2", "s3")
DEPARTMENTS = ("bakery", "dairy", "drinks", "produce")


def small_shop(
    folder: Path, first_day: date, days: int, customers: int = 60, products: int = 80, seed: int = 0
) -> Path:
    """Write a shop with about `customers * 2 / 7` orders of five lines a day, all at daytime in New York and Berlin."""
    write_rows(folder / "customers.parquet", "customers", _customers(customers, first_day))
    write_rows(folder / "products.parquet", "products", _products(products))
    write_rows(folder / "demographics.parquet", "demographics", _demographics(customers))
    habits = _habits(customers, products, seed)
    for offset in range(days):
        day = first_day + timedelta(days=offset)
        orders, lines = _orders_of(day, habits, products, seed)
        write_rows(folder / "orders" / f"{day}.parquet", "orders", orders)
        write_rows(folder / "order_lines" / f"{day}.parquet", "order_lines", lines)
        if day.weekday() == 0:
            write_rows(folder / "promotions" / f"{day}.parquet", "promotions", _promotions(day, products, seed))
    return folder


def write_rows(path: Path, table: str, rows: list[dict[str, object]]) -> None:
    """Write rows of a contract table with its contract schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=CONTRACT[table].schema), path)


def day_file(folder: Path, table: str, day: date) -> Path:
    return folder / table / f"{day}.parquet"


def _customers(count: int, first_day: date) -> list[dict[str, object]]:
    return [
        {
            "customer_id": f"c{number:04d}",
            "registered_at": _moment(first_day - timedelta(days=1 + number % 30), 600),
            "email": f"c{number:04d}@example.com",
            "country": "US",
        }
        for number in range(count)
    ]


def _products(count: int) -> list[dict[str, object]]:
    return [
        {
            "product_id": f"p{number:04d}",
            "name": f"Product {number}",
            "brand": "own" if number % 3 == 0 else "national",
            "department": DEPARTMENTS[number % len(DEPARTMENTS)],
            "category": f"category {number % 10}",
            "subcategory": f"type {number % 20}",
            "manufacturer_id": f"m{number % 7}",
            "package_size": "1 EA",
            "is_merchandise": number % 40 != 39,
        }
        for number in range(count)
    ]


def _demographics(customers: int) -> list[dict[str, object]]:
    return [
        {
            "customer_id": f"c{number:04d}",
            "age_band": ("25-34", "45-54", "65+")[number // 3 % 3],
            "income_band": ("35-49K", "75-99K")[number // 3 % 2],
            "gender": None,
            "marital_status": None,
            "home_ownership": None,
            "household_size": str(1 + number % 4),
            "household_composition": None,
            "children_count": None,
        }
        for number in range(0, customers, 3)
    ]


def popularity_of(products: int) -> np.ndarray:
    """Share of each product in what is bought: the n-th is bought 1/n as often as the first."""
    weights = 1 / np.arange(1, products + 1)
    shares: np.ndarray = weights / weights.sum()
    return shares


def _habits(customers: int, products: int, seed: int) -> list[dict[str, Any]]:
    """Per customer: the home store, two weekdays, and favourites with their rhythm in weeks and phase."""
    random = np.random.default_rng([seed, 0])
    habits = []
    for number in range(customers):
        favourites = random.choice(products, size=min(8, products), replace=False, p=popularity_of(products))
        habits.append(
            {
                "customer_id": f"c{number:04d}",
                "store_id": STORES[number % len(STORES)],
                "weekdays": {number % 7, (number + 3) % 7},
                "favourites": [(int(product), 1 + index % 3, index) for index, product in enumerate(favourites)],
            }
        )
    return habits


def _orders_of(
    day: date, habits: list[dict[str, Any]], products: int, seed: int
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    random = np.random.default_rng([seed, day.toordinal()])
    week = day.toordinal() // 7
    popularity = popularity_of(products)
    orders: list[dict[str, object]] = []
    lines: list[dict[str, object]] = []
    for habit in habits:
        chance, minute, extras = random.random(), int(random.integers(0, 300)), random.choice(products, 2, p=popularity)
        if day.weekday() not in habit["weekdays"] or chance > 0.95:
            continue
        due = {product for product, rhythm, phase in habit["favourites"] if (week + phase) % rhythm == 0}
        order_id, ordered_at = f"{day:%Y%m%d}-{habit['customer_id']}", _moment(day, 15 * 60 + minute)
        basket = [_line(order_id, ordered_at, product, random) for product in sorted(due | set(map(int, extras)))]
        lines += basket
        orders.append(
            {
                "order_id": order_id,
                "customer_id": habit["customer_id"],
                "ordered_at": ordered_at,
                "store_id": habit["store_id"],
                "total_amount_cents": sum(line["amount_cents"] for line in basket),
                "currency": CURRENCY,
            }
        )
    return orders, lines


def _line(order_id: str, ordered_at: datetime, product: int, random: np.random.Generator) -> dict[str, Any]:
    quantity = int(random.integers(1, 4))
    price = 99 + 37 * (product % 30) + 1
    discount = price // 10 if random.random() < 0.2 else 0
    return {
        "order_line_id": f"{order_id}-{product}",
        "order_id": order_id,
        "product_id": f"p{product:04d}",
        "ordered_at": ordered_at,
        "quantity": float(quantity),
        "amount_cents": quantity * price - discount,
        "discount_cents": discount,
        "currency": CURRENCY,
    }


def _promotions(monday: date, products: int, seed: int) -> list[dict[str, object]]:
    random = np.random.default_rng([seed, 1, monday.toordinal()])
    starts_at, ends_at = _moment(monday, 5 * 60), _moment(monday + timedelta(days=7), 5 * 60)
    return [
        {
            "product_id": f"p{int(product):04d}",
            "store_id": store,
            "starts_at": starts_at,
            "ends_at": ends_at,
            "display_location": "front",
            "mailer_location": None,
        }
        for store in STORES
        for product in sorted(random.choice(products, size=min(5, products), replace=False))
    ]


def _moment(day: date, minute: int) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC) + timedelta(minutes=minute)
