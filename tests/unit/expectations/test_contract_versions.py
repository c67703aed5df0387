"""What was landed and accepted under an older version of the contract stays readable under this one."""

from datetime import timedelta

import pyarrow as pa
import pytest

from expectations.arrivals import judge_batch
from expectations.history import history_before, recent_values
from expectations.suites.arrivals.from_contract import History
from expectations.verdicts import Status
from ml.shop.contract import CONTRACT, CONTRACT_VERSION
from ml.shop.delivery import UNPARSED_SCHEMA
from ml.stores import raw as raw_module
from ml.stores.raw import BATCHES, RawStore
from tests.unit.expectations.arriving import DAY, KNOWN, batch_of, judged_settings, line, lines_of

OLD_BATCHES = pa.schema([field for field in raw_module.BATCHES_SCHEMA if field.name != "readmits"])


@pytest.fixture
def settings(tmp_path):
    return judged_settings(tmp_path)


def judged_day(settings, numbers, day, history):
    at = settings.day_start(day) + timedelta(hours=10)
    rows = lines_of([line(number, ordered_at=at) for number in numbers] + [line(99, ordered_at=at, quantity=0.0)])
    generous = settings.model_copy(update={"quarantine_budgets": {"order_lines": 0.2}})
    batch = batch_of("order_lines", rows, first_day=day, last_day=day)
    assert batch.contract_version == 1, "the manifest of an older installation"
    judged = judge_batch(generous, batch, rows, UNPARSED_SCHEMA.empty_table(), history)
    assert judged.verdict.status is Status.PASSED
    return judged.accepted


def test_parts_of_the_first_version_are_read_beside_those_of_this_one(settings, monkeypatch):
    before = DAY - timedelta(days=1)
    with monkeypatch.context() as old:
        old.setattr(raw_module, "CONTRACT_VERSION", 1)
        old.setattr(raw_module, "BATCHES_SCHEMA", OLD_BATCHES)
        accepted = judged_day(settings, range(20), before, History())
        first = RawStore(settings).append([accepted])
    assert first.lineage["contract_version"] == 1
    raw = RawStore(settings)
    table = CONTRACT["order_lines"]
    history = history_before(raw, table, DAY)
    assert history.has_rows
    assert history.medians == {"amount_cents": 250.0}
    assert recent_values(raw, table, DAY, "amount_cents").to_pylist() == [250] * 20
    second = raw.append([judged_day(settings, range(20, 40), DAY, KNOWN)])
    assert second.lineage["contract_version"] == CONTRACT_VERSION > 1
    assert len(raw.accepted()) == 2
    assert raw.recent_rows("order_lines", ["order_line_id"], before, DAY + timedelta(days=1)).num_rows == 40
    selected = raw.select_batches(DAY)
    assert [len(selected.paths[name]) for name in ("order_lines", BATCHES)] == [2, 2]
