"""A generated shop of another shape than the contract: one flat file of invoice lines. Its data is made up.

It is what a small gift wholesaler's till exports: no departments, prices in pounds, customers who often leave no
name, whole invoices cancelled by others that begin with C, returned goods as negative lines, postage among the
products, names in latin-1, and the clock of each customer's country. It is closed on Saturdays.
`docs/examples/gift_wholesaler.yml` maps it. A day's rows depend on the seed and the day only: a longer shop begins
with the shorter one.
"""

import csv
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np

from ml.shop.generated import popularity_of

FILE = "invoices.csv"
ENCODING = "latin-1"
HEADER = ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country")
ZONES = {
    "United Kingdom": "Europe/London",
    "Germany": "Europe/Berlin",
    "France": "Europe/Paris",
    "EIRE": "Europe/Dublin",
    "Norway": "Europe/Oslo",
    "Australia": "Australia/Sydney",
}
_COUNTRIES = ("United Kingdom",) * 6 + tuple(ZONES)[1:]
_KINDS = (
    "MUG",
    "CAFÉ TIN",
    "LANTERN",
    "T-LIGHT HOLDER",
    "CRÈME DISH",
    "PARTY BUNTING",
    'PICTURE FRAME 6"x4"',
    "GIFT BOX, SMALL",
)
_COLOURS = ("RED", "WHITE", "BLUE", "ROSÉ", "VINTAGE")
_SATURDAY = 5
_GUEST_SHARE = 0.2
_RETURN_SHARE = 0.05

Row: TypeAlias = tuple[str, str, str, int, str, str, str, str]


def second_shop(
    folder: Path, first_day: date, days: int, customers: int = 60, products: int = 80, seed: int = 0
) -> Path:
    """Write the shop's one file: about `customers * 2 / 6` invoices of named customers a day, some more of guests."""
    folder.mkdir(parents=True, exist_ok=True)
    invoice = 489_434
    habits = _habits(customers, products, seed)
    with (folder / FILE).open("w", encoding=ENCODING, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for offset in range(days):
            for rows in _invoices_of(first_day + timedelta(days=offset), habits, products, seed):
                writer.writerows((f"{row[0]}{invoice}", *row[1:]) for row in rows)
                invoice += 1
    return folder


def _habits(customers: int, products: int, seed: int) -> list[dict[str, Any]]:
    random = np.random.default_rng([seed, 2])
    popularity = popularity_of(products)
    habits = []
    for number in range(customers):
        favourites = random.choice(products, size=min(8, products), replace=False, p=popularity)
        habits.append(
            {
                "customer": str(12_346 + 7 * number),
                "country": _COUNTRIES[number % len(_COUNTRIES)],
                "weekdays": {number % 5, (number + 3) % 7},
                "favourites": [(int(product), 1 + index % 3, index) for index, product in enumerate(favourites)],
            }
        )
    return habits


def _invoices_of(day: date, habits: list[dict[str, Any]], products: int, seed: int) -> Iterator[list[Row]]:
    """The invoices of a day without their numbers: the first field is what stands before the number."""
    if day.weekday() == _SATURDAY:
        return
    random = np.random.default_rng([seed, 3, day.toordinal()])
    week, popularity = day.toordinal() // 7, popularity_of(products)
    for habit in habits:
        is_here = day.weekday() in habit["weekdays"] and random.random() < 0.95
        moment = _local(day, int(random.integers(0, 180)), habit["country"])
        extras = {int(product) for product in random.choice(products, 2, p=popularity)}
        is_guest, comes_back = random.random() < _GUEST_SHARE, random.random() < _RETURN_SHARE
        due = {product for product, rhythm, phase in habit["favourites"] if (week + phase) % rhythm == 0}
        if is_here:
            basket = sorted(due | extras)
            yield _lines("", basket, moment, habit["customer"], habit["country"], random)
            if comes_back:
                yield [_line("C", basket[0], -1, moment, habit["customer"], habit["country"])]
        if is_guest:
            yield _lines("", sorted(extras), moment, "", habit["country"], random)
    yield [("A", "B", "Adjust bad debt", -1, f"{_local(day, 200, 'United Kingdom')}", "-12.50", "", "United Kingdom")]


def _local(day: date, minute: int, country: str) -> str:
    """A moment of the afternoon in London, by the clock of a country."""
    moment = datetime.combine(day, time(9), tzinfo=ZoneInfo("Europe/London")) + timedelta(minutes=minute)
    return moment.astimezone(ZoneInfo(ZONES[country])).strftime("%d/%m/%Y %H:%M")


def _lines(
    prefix: str, basket: list[int], moment: str, customer: str, country: str, random: np.random.Generator
) -> list[Row]:
    rows = [_line(prefix, product, int(random.integers(1, 13)), moment, customer, country) for product in basket]
    if random.random() < 0.1:  # the same product once more, as tills do
        rows.append(_line(prefix, basket[0], 1, moment, customer, country))
    if random.random() < _RETURN_SHARE:  # something of an earlier invoice comes back with this one
        rows.append(_line(prefix, basket[-1], -2, moment, customer, country))
    if country != "United Kingdom":
        rows.append((prefix, "POST", "POSTAGE", 1, moment, "18.00", customer, country))
    return rows


def _line(prefix: str, product: int, quantity: int, moment: str, customer: str, country: str) -> Row:
    name = f"{_COLOURS[product % len(_COLOURS)]} {_KINDS[product % len(_KINDS)]} {product}"
    pence = 85 + 35 * (product % 30)
    price = f"{pence / 100:.3f}" if product % 10 == 0 else f"{pence / 100:.2f}"
    return (prefix, f"{20_000 + product}", name, quantity, moment, price, customer, country)
