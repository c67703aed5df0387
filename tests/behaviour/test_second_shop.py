"""A shop of another shape, through the same door: from its one flat file to recommendations that are judged.

Guests without an id, returns, cancelled invoices, pounds, several time zones, no departments, closed on Saturdays.
"""

import csv
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from ml.cli import features, ingest, monitoring, recommender, warehouse
from ml.cli.recommender.inputs import recommendations_store
from ml.settings import Settings, get_settings
from ml.shop.second_shop import ENCODING, FILE, second_shop
from ml.stores.landing import Landing
from ml.stores.operations import Operations, gate_verdicts, incidents
from ml.stores.warehouse import open_marts

ROOT = Path(__file__).resolve().parents[2]
FIRST_DAY = date(2024, 3, 4)  # a Monday; the clocks of Europe move on 31 March
DAYS = 42
LAST_DAY = FIRST_DAY + timedelta(days=DAYS - 1)
WEEK_END = LAST_DAY + timedelta(days=7)
pytestmark = pytest.mark.timeout(900)

CHAIN = (
    ingest.gate_arrivals,
    warehouse.build_models,
    warehouse.gate_marts,
    warehouse.publish_marts,
    features.materialize_features,
)
TRAINING = ("build_training_set", "gate_training_set", "train_challenger", "decide_promotion")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, dict[str, Any]]]:
    """The shop after its history, a training, a publication, and the week after it; with what steps returned."""
    folder = tmp_path_factory.mktemp("second")
    second_shop(folder / "shop", FIRST_DAY, DAYS + 7)
    values = {
        "state_dir": folder / "var",
        "shop_id": "wholesaler",
        "source": "files",
        "files_dir": folder / "shop",
        "files_mapping": ROOT / "docs/examples/gift_wholesaler.yml",
        "timezone": "Europe/London",
        "currency": "GBP",
        "closed_days": '["saturday"]',
        "first_day": FIRST_DAY,
        "bootstrap_day": LAST_DAY,
        "last_day": WEEK_END,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(f"SHOPWRIGHT_{name.upper()}", str(value))
        get_settings.cache_clear()
        done: dict[str, Any] = {"landed": ingest.land_days(FIRST_DAY, LAST_DAY)}
        for step in CHAIN:
            step(LAST_DAY)
        for name in TRAINING:
            done[name] = getattr(recommender, name)(LAST_DAY)
        done["published"] = recommender.publish_recommendations(LAST_DAY)
        done["drift"] = monitoring.check_drift(LAST_DAY)
        done["not yet"] = monitoring.check_performance(LAST_DAY)
        done["landed later"] = ingest.land_days(LAST_DAY + timedelta(days=1), WEEK_END)
        for step in CHAIN[:-1]:  # nothing is recommended after it, so nothing has to be online
            step(WEEK_END)
        done["performance"] = monitoring.check_performance(WEEK_END)
        settings = get_settings()
    yield settings, done


def _rows(settings: Settings) -> list[dict[str, str]]:
    assert settings.files_dir is not None
    with (settings.files_dir / FILE).open(encoding=ENCODING, newline="") as file:
        return list(csv.DictReader(file))


def _is_kept(row: dict[str, str]) -> bool:
    return row["Invoice"][0] not in "CA" and int(row["Quantity"]) > 0


def test_every_row_of_the_file_is_a_line_or_left_out_by_name(lived: tuple[Settings, dict[str, Any]]) -> None:
    settings, done = lived
    rows = _rows(settings)
    landed = [done[name]["order_lines"] for name in ("landed", "landed later")]
    assert sum(entry["rows"] for entry in landed) == sum(map(_is_kept, rows))
    assert set(landed[0]["filtered"]) == {"cancelled invoice", "correction", "returned goods"}
    assert sum(entry["rows"] + sum(entry["filtered"].values()) for entry in landed) == len(rows)
    [batch] = Landing(settings.shop_dir / "landing").batches("order_lines", on=LAST_DAY)
    assert batch.left_out == landed[0]["filtered"], "the manifest keeps the counts"


def test_pounds_are_pence_to_the_last_one(lived: tuple[Settings, dict[str, Any]]) -> None:
    settings, _done = lived
    pence = [
        (Decimal(row["Price"]) * int(row["Quantity"]) * 100).quantize(Decimal(1), ROUND_HALF_UP)
        for row in _rows(settings)
        if _is_kept(row)
    ]
    [(amount, lines)] = (
        open_marts(settings).connect().execute("select sum(amount_cents), count(*) from fct_order_lines").fetchall()
    )
    assert (amount, lines) == (sum(pence), len(pence))


def test_guests_orders_are_kept_and_are_nobodys(lived: tuple[Settings, dict[str, Any]]) -> None:
    settings, _done = lived
    kept = [row for row in _rows(settings) if _is_kept(row)]
    guests = {row["Invoice"] for row in kept if not row["Customer ID"]}
    connection = open_marts(settings).connect()
    assert len(guests) > 100
    [(found,)] = connection.execute("select count(*) from fct_orders where customer_id is null").fetchall()
    assert found == len(guests)
    [(customers,)] = connection.execute("select count(*) from dim_customers").fetchall()
    assert customers == len({row["Customer ID"] for row in kept} - {""})


def test_a_days_orders_are_those_of_the_shops_own_calendar(lived: tuple[Settings, dict[str, Any]]) -> None:
    """Sydney's invoices bear the date of the next day when London still has the day before; none falls on Saturday."""
    settings, _done = lived
    connection = open_marts(settings).connect()
    weekdays = connection.execute("select distinct isodow(order_date) from fct_orders order by 1").fetchall()
    assert [number for (number,) in weekdays] == [1, 2, 3, 4, 5, 7]


def test_every_customer_is_recommended_ten_goods_and_no_postage(lived: tuple[Settings, dict[str, Any]]) -> None:
    settings, done = lived
    store = recommendations_store(settings)
    version = store.current()
    assert version is not None
    rows = store.read(version, "recommendations").to_pandas()
    assert done["published"]["customers"] == 60
    assert rows.groupby("customer_id").size().unique().tolist() == [10]
    assert rows["customer_id"].notna().all()
    assert rows["product_id"].str.fullmatch("[0-9]{5}").all()


def test_the_recommendations_are_judged_by_what_customers_then_bought(lived: tuple[Settings, dict[str, Any]]) -> None:
    _settings, done = lived
    assert done["not yet"]["state"] == "unknown"
    verdict = done["performance"]["judged"][WEEK_END.isoformat()]
    assert verdict["state"] == "ok", verdict
    assert verdict["ndcg_at_10"] > 0.3


def test_all_gates_passed_and_nobody_was_told_of_a_failure(lived: tuple[Settings, dict[str, Any]]) -> None:
    settings, _done = lived
    operations = Operations.from_settings(settings)
    verdicts = operations.rows(gate_verdicts)
    assert {row["gate"] for row in verdicts} >= {"arrivals", "marts", "model_inputs"}
    assert {row["status"] for row in verdicts} == {"passed"}
    assert {row["kind"] for row in operations.rows(incidents)} <= {"promotion_refused"}
