"""Two builds on their way at once, a rollback and an edited project, with the real dbt and the real gate."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from ml.cli import warehouse
from ml.settings import PREFIX, Settings, get_settings
from ml.shop.generated import small_shop
from ml.stores.operations import Operations, feature_versions
from ml.stores.warehouse import mark_judged, marts_store, open_marts, publish_staged, stage_marts
from tests.dbt_projects import copy_project
from tests.raw_shop import publish_raw, shop_settings

FIRST = date(2024, 1, 1)
LAST = FIRST + timedelta(days=20)
DAYS = (LAST - timedelta(days=2), LAST - timedelta(days=1), LAST)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_shop(tmp_path_factory.mktemp("shop"), FIRST, 21, customers=30, products=40)


@pytest.fixture(scope="module")
def settings(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings, in this process's environment too, of a shop whose history is in raw up to the day before DAYS."""
    made = shop_settings(tmp_path_factory.mktemp("state"), shop)
    publish_raw(made, [(FIRST, DAYS[0] - timedelta(days=1))])
    with pytest.MonkeyPatch.context() as patch:
        for name in ("state_dir", "shop_id", "source", "files_dir"):
            patch.setenv(f"{PREFIX}{name.upper()}", str(getattr(made, name)))
        yield made


def _published_content(settings: Settings) -> dict[tuple[str, str], str]:
    """Hash per mart and part; row conservation is left out, since it tells the batches apart."""
    version = open_marts(settings).version
    return {(part.table, part.partition): part.sha256 for part in version.parts if part.table != "fct_row_conservation"}


@pytest.fixture(scope="module")
def interleaved(settings: Settings) -> Settings:
    """Two days that arrive and are built in the wrong order, each step of one between steps of the other."""
    get_settings.cache_clear()
    earlier, later = DAYS[0], DAYS[1]
    publish_raw(settings, [(later, later)])
    warehouse.build_models(later)
    publish_raw(settings, [(earlier, earlier)])
    warehouse.build_models(earlier)
    warehouse.gate_marts(later)
    warehouse.gate_marts(earlier)
    assert warehouse.publish_marts(later)["target_day"] == later.isoformat()
    assert warehouse.publish_marts(earlier)["target_day"] == later.isoformat(), "built again, over what was published"
    return settings


def test_two_days_on_their_way_at_once_end_like_days_in_a_row(
    interleaved: Settings, shop: Path, tmp_path: Path
) -> None:
    serial = shop_settings(tmp_path, shop)
    publish_raw(serial, [(FIRST, DAYS[0] - timedelta(days=1)), (DAYS[0], DAYS[0]), (DAYS[1], DAYS[1])])
    mark_judged(serial, stage_marts(serial, DAYS[1]))
    publish_staged(serial, DAYS[1])
    expected = _published_content(serial)
    assert len(expected) > 10
    assert _published_content(interleaved) == expected
    assert [version.number for version in marts_store(interleaved).versions()] == [1, 2]


def _edited_project(folder: Path) -> Path:
    """A customer's spending is counted in dollars, and products get a column."""
    project = copy_project(folder)
    features = project / "models" / "marts" / "features"
    sql = features / "feat_customer.sql"
    assert "amount_cents_28d" in sql.read_text()
    edited = sql.read_text().rstrip().removesuffix("select * from final")
    sql.write_text(f"{edited}select * replace (amount_cents_28d * 2 as amount_cents_28d) from final\n")  # noqa: S608
    core = project / "models" / "marts" / "core"
    product = core / "dim_products.sql"
    text = product.read_text().rstrip().removesuffix("select * from final")
    product.write_text(f"{text}select *, length(name) as name_length from final\n")  # noqa: S608
    described = core / "_core__models.yml"
    anchor = "      - {name: brand, data_type: varchar"
    column = "      - {name: name_length, data_type: bigint, description: Letters of the name.}\n"
    assert described.read_text().count(anchor) >= 1
    described.write_text(described.read_text().replace(anchor, column + anchor, 1))
    return project


def test_a_diff_shows_what_an_edit_changes_and_publishes_nothing(interleaved: Settings, tmp_path: Path) -> None:
    get_settings.cache_clear()

    def state() -> dict[str, int]:
        files = [path for path in interleaved.shop_dir.rglob("*") if path.is_file() and ".db" not in path.name]
        assert len(files) > 20
        return {str(path): path.stat().st_mtime_ns for path in files}

    before = state()
    result = CliRunner().invoke(warehouse.warehouse, ["diff", "--project", str(_edited_project(tmp_path))])
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line for line in result.output.splitlines() if line.split()}
    assert {name for name in lines if name.startswith(("dim_", "fct_", "feat_", "audit_"))} == {
        *("dim_products", "dim_products.name_length", "feat_customer", "feat_customer.amount_cents_28d")
    }
    assert lines["dim_products"].split() == ["dim_products", "40", "->", "40", *"000", "name_length", "-", "-"]
    assert lines["feat_customer.amount_cents_28d"].split()[1] == "100.0%"
    assert "1 -> 2 (new)" in result.output
    assert state() == before, "the shop's state was touched"


@pytest.mark.full
def test_an_unedited_project_differs_in_nothing(interleaved: Settings) -> None:
    get_settings.cache_clear()
    result = CliRunner().invoke(warehouse.warehouse, ["diff"])
    assert result.exit_code == 0, result.output
    assert "no mart changes" in result.output
    assert "no feature gets a new definition" in result.output


def test_features_have_their_first_version(interleaved: Settings) -> None:
    rows = Operations.from_settings(interleaved).rows(feature_versions)
    versions = {row["feature_mart"]: row["number"] for row in rows}
    assert versions == {"feat_customer": 1, "feat_order_risk": 1, "feat_product": 1}
