"""The tests and enforced contracts of the warehouse's build: somebody edits a model, and dbt has to refuse it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from unittest.mock import patch

from ml.cli.selftest.bench import DAY, Bench
from ml.cli.selftest.judging import BlockingGate
from ml.cli.selftest.proofs import BadInput, Walk
from ml.cli.selftest.stages import must_pass
from ml.outcomes import ToolFailed
from ml.shop import breakages
from ml.stores import dbt_run, warehouse

TASK = "warehouse_build.build_models"
_PROJECT = "dbt_project"
_LAST_LINE = "select * from final"


def ingest_day(_bench: Bench, walk: Walk) -> None:
    """The day is in raw, so that there is something to build."""
    must_pass(walk, "shop_ingest.land_days", "shop_ingest.gate_arrivals", DAY.isoformat())


def _prepare(bench: Bench, walk: Walk) -> None:
    breakages.break_shop(bench.files, "unknown_product", DAY)  # so that a line is held
    ingest_day(bench, walk)
    _copy_project(bench.folder / _PROJECT)


def _copy_project(target: Path) -> None:
    for path in dbt_run.DBT_PROJECT_DIR.rglob("*"):
        relative = path.relative_to(dbt_run.DBT_PROJECT_DIR)
        if path.is_file() and relative.parts[0] not in ("target", "logs"):
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            (target / relative).write_bytes(path.read_bytes())


def _edited(model: str, selected: str) -> Callable[[Bench], None]:
    """Replace the last line of a model, which every model of the project has."""

    def plant(bench: Bench) -> None:
        (path,) = (bench.folder / _PROJECT / "models").rglob(f"{model}.sql")
        text = path.read_text().rstrip()
        if not text.endswith(_LAST_LINE):
            raise ToolFailed(f"{model}.sql does not end with `{_LAST_LINE}`, so that it cannot be edited")
        path.write_text(f"{text.removesuffix(_LAST_LINE)}{selected}\n")

    return plant


@contextmanager
def _built_from_copy(bench: Bench) -> Iterator[None]:
    """The build task builds the bench's copy of the project in place of the repository's."""
    project = bench.folder / _PROJECT
    with patch.object(warehouse, "build_scratch", partial(dbt_run.build_scratch, project_dir=project)):
        yield


@contextmanager
def _without_tests(bench: Bench) -> Iterator[None]:
    """dbt's own switches, in the bench's copy of the project: no data test is enabled, no contract enforced."""
    path = bench.folder / _PROJECT / "dbt_project.yml"
    text = path.read_text()
    for switch, thrown in _SWITCHES.items():
        if switch not in text:
            raise ToolFailed(f"dbt_project.yml has no `{switch}`, so that it cannot be switched off")
        text = text.replace(switch, thrown)
    path.write_text(text)
    yield


_SWITCHES = {
    "+contract: {enforced: true}": "+contract: {enforced: false}",
    "+store_failures: false": "+enabled: false",
}

_PRODUCTS, _CONSERVATION, _HELD = "dim_products", "fct_row_conservation", "int_order_lines__held"
_TWICE = f"{_LAST_LINE} union all {_LAST_LINE}"


def _edit(name: str, rule: str, model: str, selected: str, says: str, together: str = "") -> BadInput:
    plant = _edited(model, selected)
    return BadInput(name, rule, plant, recorded_as=RULE, says=says, together=together, during=_built_from_copy)


# A build takes as long as another gate's proofs together, so two edits share one where its failure names both.
RULE = "data_tests"
"""What the record of verdicts calls all of dbt's tests and contracts together."""

DBT_TESTS = BlockingGate(
    gate="dbt_tests",
    task=TASK,
    stage="published",
    start=TASK,
    bad_inputs=(
        _edit(
            "a product without its flag",
            "not_null",
            _PRODUCTS,
            "select * replace (null::boolean as is_merchandise) from final",
            "not_null_dim_products_is_merchandise",
        ),
        _edit("every product twice", "unique", _PRODUCTS, _TWICE, "unique_dim_products_product_id", "keys"),
        _edit(
            "a product that is sold and unknown",
            "relationships",
            _PRODUCTS,
            "select * from final where product_id <> (select min(sold.product_id) from final as sold)",
            "relationships_",
            "relations",
        ),
        _edit(
            "a column of another type",
            "contract",
            _PRODUCTS,
            "select * replace (1 as brand) from final",
            f"model {_PRODUCTS} breaks its contract in brand",
            "columns",
        ),
        _edit(
            "every batch twice", "unique_together", _CONSERVATION, _TWICE, f"unique_together_{_CONSERVATION}", "keys"
        ),
        _edit(
            "a row that is accounted for nowhere",
            "holds_for_every_row",
            _CONSERVATION,
            "select * replace (rows_in + 1 as rows_in) from final",
            "every_row_of_a_batch_is_accounted_for",
            "relations",
        ),
        _edit(
            "a row held for no known reason",
            "accepted_values",
            _HELD,
            "select * replace ('mislaid' as held_reason) from final",
            f"accepted_values_{_HELD}",
            "columns",
        ),
        BadInput(
            "ten days without an order",
            "fresh_by_shop_clock",
            lambda _bench: None,
            recorded_as=RULE,
            says="fresh_by_shop_clock",
            key=(DAY + timedelta(days=10)).isoformat(),
        ),
    ),
    switched_off=_without_tests,
    verdicts="dbt_tests",
    incident_kinds=("task_failed",),
    prepare=_prepare,
)
