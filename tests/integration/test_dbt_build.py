"""dbt on a small shop: what the marts hold depends on the raw rows up to the day, and on nothing else."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings
from ml.shop.breakages import break_shop
from ml.shop.generated import small_shop
from ml.stores.dbt_run import DBT_PROJECT_DIR, build_scratch, scratch_path
from ml.stores.fingerprints import feature_fingerprints
from ml.stores.versions import Part
from ml.stores.warehouse import Staged, mark_judged, open_marts, publish_staged, stage_marts
from tests.dbt_projects import copy_project
from tests.raw_shop import publish_raw, shop_settings

FIRST_DAY = date(2024, 1, 1)  # a Monday
DAYS = 20
LAST_DAY = FIRST_DAY + timedelta(days=DAYS - 1)
DAY_BEFORE = LAST_DAY - timedelta(days=1)
LATE_PRODUCT = "p0001"


@dataclass(frozen=True)
class Built:
    settings: Settings
    staged: Staged
    version_id: str


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small_shop(tmp_path_factory.mktemp("shop"), FIRST_DAY, DAYS, customers=40, products=50)
    for breakage in ("late_lines", "duplicated_rows"):
        assert break_shop(folder, breakage, FIRST_DAY + timedelta(days=10)) > 0
    return folder


@pytest.fixture(scope="module")
def one_load(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """All days in one batch a table, built and published."""
    settings = shop_settings(tmp_path_factory.mktemp("one_load"), shop)
    publish_raw(settings, [(FIRST_DAY, LAST_DAY)])
    staged = stage_marts(settings, LAST_DAY)
    mark_judged(settings, staged)
    return Built(settings, staged, publish_staged(settings, LAST_DAY).id)


def content(parts: tuple[Part, ...]) -> dict[tuple[str, str], str]:
    """Hash per mart and part; row conservation is left out, since it tells the batches apart."""
    return {(part.table, part.partition): part.sha256 for part in parts if part.table != "fct_row_conservation"}


def without_late_product(table: str, rows: pa.Table) -> pa.Table:
    """The snapshots of the days before the last lack one product."""
    return rows.filter(pc.not_equal(rows.column("product_id"), LATE_PRODUCT)) if table == "products" else rows


@pytest.fixture(scope="module", params=[7, *(pytest.param(seed, marks=pytest.mark.full) for seed in (11, 13, 17))])
def day_by_day(
    request: pytest.FixtureRequest, shop: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, list[Staged]]]:
    """Days landed one by one in no order; the day before the last is built and published, then the last."""
    settings = shop_settings(tmp_path_factory.mktemp("day_by_day"), shop)
    days = [FIRST_DAY + timedelta(days=offset) for offset in range(DAYS - 1)]
    random.Random(request.param).shuffle(days)  # noqa: S311  # no secret
    publish_raw(settings, [(day, day) for day in days], without_late_product)
    builds = []
    for day in (DAY_BEFORE, LAST_DAY):
        if day == LAST_DAY:
            publish_raw(settings, [(LAST_DAY, LAST_DAY)])
        staged = stage_marts(settings, day)
        mark_judged(settings, staged)
        publish_staged(settings, day)
        builds.append(staged)
    yield settings, builds


def test_published_marts_hold_rows_for_each_monday_and_for_the_morning_after(one_load: Built) -> None:
    marts = open_marts(one_load.settings)
    assert marts.version.id == one_load.version_id
    assert marts.as_of_date == LAST_DAY + timedelta(days=1)
    with marts.connect() as connection:
        for mart in ("feat_customer", "feat_product"):
            days = connection.table(mart).project("as_of_date").distinct().order("as_of_date").fetchall()
            assert [day for (day,) in days] == [date(2024, 1, 8), date(2024, 1, 15), date(2024, 1, 21)]
        assert connection.execute("select count(*), count(distinct order_id) from fct_orders").fetchone()[0] > 100
        moments = connection.execute("select distinct feature_at from feat_customer order by 1 limit 1").fetchone()
        assert moments[0].isoformat() == "2024-01-08T05:00:00+00:00"


def test_one_load_and_days_in_no_order_give_identical_rows(
    one_load: Built, day_by_day: tuple[Settings, list[Staged]]
) -> None:
    _, (_, last) = day_by_day
    found, expected = content(last.parts), content(one_load.staged.parts)
    assert len(expected) > 10
    assert found == expected


def test_a_line_of_an_unknown_product_is_held_until_the_product_arrives(
    day_by_day: tuple[Settings, list[Staged]],
) -> None:
    settings, (before, after) = day_by_day
    assert before.held["unknown_product"] > 0
    assert after.held == {}
    with open_marts(settings).connect() as connection:
        sold = connection.table("fct_order_lines").filter(f"product_id = '{LATE_PRODUCT}'").fetchall()
        incomplete = connection.execute("select count(*) from fct_orders where not is_complete").fetchone()
    assert len(sold) >= before.held["unknown_product"]
    assert incomplete[0] == 0


def test_each_day_is_published_as_a_version_that_shares_what_did_not_change(
    day_by_day: tuple[Settings, list[Staged]],
) -> None:
    settings, (before, after) = day_by_day
    versions = open_marts(settings).store.versions()
    assert [version.lineage["target_day"] for version in versions] == [DAY_BEFORE.isoformat(), LAST_DAY.isoformat()]
    shared = {(part.table, part.partition) for part in set(before.parts) & set(after.parts)}
    assert ("dim_customers", "all") in shared
    assert ("dim_products", "all") not in shared


def test_rows_of_every_batch_are_accounted_for(day_by_day: tuple[Settings, list[Staged]]) -> None:
    settings, _ = day_by_day
    query = """
        select
            count(*),
            sum(rows_collapsed),
            count(*) filter (rows_in <> rows_published + rows_quarantined + rows_collapsed)
        from fct_row_conservation
        where table_name = 'order_lines'
    """
    with open_marts(settings).connect() as connection:
        batches, collapsed, unaccounted = connection.execute(query).fetchone()
    assert batches == DAYS
    assert collapsed > 0
    assert unaccounted == 0


def test_fingerprints_do_not_depend_on_the_day(day_by_day: tuple[Settings, list[Staged]]) -> None:
    _, (before, after) = day_by_day
    assert set(before.lineage["fingerprints"]) == {"feat_customer", "feat_product", "feat_order_risk"}
    assert before.lineage["fingerprints"] == after.lineage["fingerprints"]


def test_a_plain_dbt_build_works_while_the_platform_builds_and_publishes_nothing(
    one_load: Built, tmp_path: Path
) -> None:
    settings = one_load.settings
    before = sorted(path for path in (settings.shop_dir / "warehouse").rglob("*"))
    environment = {
        "PATH": os.environ["PATH"],
        "SHOPWRIGHT_STATE_DIR": str(settings.shop_dir.parent),
        "SHOPWRIGHT_SHOP_ID": settings.shop_id,
        "DBT_TARGET_PATH": str(tmp_path / "target"),
        "DBT_LOG_PATH": str(tmp_path / "logs"),
    }
    for kind in ("full", "incremental"):
        with duckdb.connect(str(scratch_path(settings))):  # the platform's writer holds its file
            finished = subprocess.run(
                [sys.executable, "-m", "dbt.cli.main", "build"],
                cwd=DBT_PROJECT_DIR,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
        assert finished.returncode == 0, finished.stdout[-3000:]
        results = json.loads((tmp_path / "target" / "run_results.json").read_text())["results"]
        by_type = [result["unique_id"].split(".")[0] for result in results]
        assert by_type.count("unit_test") >= 15
        assert by_type.count("test") >= 50
        assert {result["status"] for result in results} == {"success", "pass", "no-op"}  # exposures do nothing
        manifest = json.loads((tmp_path / "target" / "manifest.json").read_text())
        assert feature_fingerprints(manifest) == one_load.staged.lineage["fingerprints"]
        with duckdb.connect(str(settings.shop_dir / "dbt" / "dev.duckdb"), read_only=True) as developer:
            assert developer.execute("select kind from build_state.run").fetchall() == [(kind,)]
            found = developer.execute("select count(*) from core.fct_order_lines").fetchone()
        assert found[0] == one_load.staged.rows()["fct_order_lines"]
    assert sorted(path for path in (settings.shop_dir / "warehouse").rglob("*")) == before
    assert open_marts(settings).version.id == one_load.version_id


def test_orders_older_than_the_shop_clock_allows_stop_the_build(one_load: Built) -> None:
    with pytest.raises(DataFailed, match=r"raw.orders fails test source_fresh_by_shop_clock.* in 1 rows"):
        stage_marts(one_load.settings, LAST_DAY + timedelta(days=10))
    assert not (one_load.settings.shop_dir / "warehouse" / "staged" / f"{LAST_DAY + timedelta(days=10)}.json").exists()
    assert open_marts(one_load.settings).version.id == one_load.version_id


def test_a_model_that_cannot_run_is_the_tools_failure(one_load: Built, tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    model = project / "models" / "marts" / "core" / "dim_customers.sql"
    model.write_text(model.read_text().replace("customers.registered_at,", "customers.registered_on,"))
    raw_version = one_load.staged.lineage["raw_version"]
    with pytest.raises(ToolFailed, match=r"model dim_customers: Binder Error.*registered_on"):
        build_scratch(one_load.settings, raw_version, LAST_DAY, project)
