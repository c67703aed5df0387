"""Batches that readmit rows: landed beside deliveries and never taken for one; what raw knows of them."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.shop.contract import CONTRACT
from ml.shop.delivery import Delivery
from ml.stores.landing import Landing
from ml.stores.operations import Operations, quarantine_decisions
from ml.stores.quarantine import Action, Decision, EntryKey, Quarantine, SetAside
from ml.stores.quarantine_files import Repaired
from ml.stores.raw import SET_ASIDE_SCHEMA, AcceptedBatch, raw_schema
from ml.stores.readmissions import EntryDesk, Signature, digest_of

DAY = date(2024, 1, 5)
RULE = "quantity_not_positive"
ADA = Signature("the journal says so", "ada")


@pytest.fixture
def settings(tmp_path):
    return Settings(_env_file=None, state_dir=tmp_path, shop_id="tiny", owners={"order_lines": "till-team"})


@pytest.fixture
def landing(settings):
    return Landing(settings.shop_dir / "landing")


@pytest.fixture
def desk(settings, landing):
    """An entry of three lines of two orders."""
    batch = landing.land(Delivery("order_lines", pa.table({"order_line_id": ["l"] * 9}), "typed"), DAY, DAY, "files")
    rows = pa.table({"order_line_id": ["l0", "l1", "l2"], "order_id": ["o1", "o1", "o2"]})
    Quarantine(settings, Operations.from_settings(settings)).set_aside(
        SetAside("order_lines", batch.id, RULE, "expected more", rows)
    )
    return EntryDesk(settings, EntryKey("order_lines", batch.id, RULE))


def offer(*positions):
    ids = pa.table({"order_line_id": [f"l{position}" for position in positions]})
    return Repaired(ids, np.array(positions, dtype=np.int64), "typed")


def readmit(desk, *positions, action=Action.REPAIRED):
    batch = desk.land(offer(*positions), action, ADA, digest_of(offer(*positions)))
    told = AcceptedBatch(
        table=batch.table,
        batch_id=batch.id,
        rows=raw_schema(CONTRACT[batch.table]).empty_table(),
        set_aside_lines=desk.note_complete(batch, positions),
        rows_in=len(positions),
        rows_quarantined=0,
        rows_collapsed=len(positions),
        rows_late=0,
        readmits=batch.readmits,
        readmitted_rows=desk.note_back(batch, np.array(positions)),
    )
    desk.raw.append([told])
    return batch


def decision(batch_id="b", action=Action.REPAIRED):
    return Decision(action, 1, 1, batch_id, ADA.reason, ADA.decided_by)


def test_a_readmission_is_landed_over_the_days_of_its_origin_and_is_no_delivery(desk, landing):
    batch = desk.land(offer(0), Action.REPAIRED, ADA, "digest")
    assert (batch.first_day, batch.last_day, batch.readmits) == (DAY, DAY, desk.key.batch_id)
    assert batch.offer == {
        "rule": RULE,
        "action": "readmit_repaired",
        "reason": ADA.reason,
        "decided_by": "ada",
        "digest": "digest",
    }
    assert [found.id for found in landing.delivered(DAY)] == [desk.key.batch_id]
    assert [found.id for found in landing.deliveries("order_lines")] == [desk.key.batch_id]
    assert {found.id for found in landing.batches("order_lines")} == {desk.key.batch_id, batch.id}
    assert landing.delivered_again(desk.origin()) == []
    assert landing.scrub() == []


def test_the_same_offer_is_the_same_batch_and_another_purpose_another(desk, landing):
    batch = desk.land(offer(0), Action.REPAIRED, ADA)
    assert desk.land(offer(0), Action.REPAIRED, Signature("said again", "bob")) == batch
    assert desk.land(offer(0), Action.AS_IS, ADA).id != batch.id
    assert desk.land(offer(1), Action.REPAIRED, ADA).id != batch.id


def test_a_readmission_of_an_entity_does_not_stand_for_the_snapshot(settings, landing):
    snapshot = Delivery("coupons", pa.table({"coupon_id": ["c1"]}), "typed")
    first = landing.land(snapshot, DAY, DAY, "files")
    landing.land(snapshot, DAY, DAY, "quarantine", readmits=first.id, offer={"rule": RULE})
    other = Delivery("coupons", pa.table({"coupon_id": ["c2"]}), "typed")
    landing.land(other, DAY, DAY, "quarantine", readmits=first.id, offer={"rule": RULE})
    next_day = landing.land(snapshot, date(2024, 1, 6), date(2024, 1, 6), "files")
    assert next_day.same_as == first.id


def test_a_later_delivery_of_the_same_days_is_seen_once_it_is_published(desk, landing):
    rows = pa.table({"order_line_id": ["l"] * 10})
    newer = landing.land(Delivery("order_lines", rows, "typed"), DAY, DAY, "files")
    assert [batch.id for batch in landing.delivered_again(desk.origin())] == [newer.id]
    assert desk.replaced_by() is None
    desk.raw.append(
        [
            AcceptedBatch(
                table="order_lines",
                batch_id=newer.id,
                rows=raw_schema(CONTRACT["order_lines"]).empty_table(),
                set_aside_lines=SET_ASIDE_SCHEMA.empty_table(),
                rows_in=10,
                rows_quarantined=0,
                rows_collapsed=10,
                rows_late=0,
            )
        ]
    )
    assert desk.replaced_by() == newer.id


def test_raw_says_which_rows_are_back_and_which_orders_are_complete(desk):
    assert desk.open_positions().tolist() == [0, 1, 2]
    batch = readmit(desk, 0, 2)
    assert desk.open_positions().tolist() == [1]
    assert desk.row_states() == ["readmitted", "open", "readmitted"]
    assert desk.raw.readmissions() == {("order_lines", batch.id)}
    assert desk.published_readmissions() == [batch]
    version = desk.raw.versions.current()
    lines = desk.raw.versions.read(version, "set_aside_order_lines").to_pylist()
    assert [(line["order_id"], line["lines"], line["_batch_date"]) for line in lines] == [
        ("o1", -1, DAY),
        ("o2", -1, DAY),
    ]


def test_an_entry_is_open_until_all_its_rows_are_decided_about(desk, settings):
    assert desk.quarantine.entry(desk.key)["owner"] == "till-team"
    batch = readmit(desk, 0, 2)
    desk.settle(decision(batch.id))
    entry = desk.quarantine.entry(desk.key)
    assert (entry["rows_readmitted"], entry["rows_discarded"], entry["state"]) == (2, 0, "open")
    desk.settle(decision(batch.id))
    assert len(desk.operations.rows(quarantine_decisions)) == 1, "the same decision is recorded once"
    desk.settle(decision(None, Action.DISCARD))
    entry = desk.quarantine.entry(desk.key)
    assert (entry["rows_readmitted"], entry["rows_discarded"], entry["state"]) == (2, 1, "discarded")
    assert desk.row_states() == ["readmitted", "discarded", "readmitted"]
    assert desk.open_positions().tolist() == []


def test_an_entry_whose_rows_are_all_back_is_readmitted(desk):
    desk.settle(decision(readmit(desk, 0, 1, 2).id))
    assert desk.quarantine.entry(desk.key)["state"] == "readmitted"
    assert desk.count_open() == 0


def test_what_there_is_not_is_named(settings, desk):
    for key, problem in (
        (EntryKey("nothing", "b", "r"), "nothing is no table of the contract"),
        (EntryKey("orders", "b", "r"), "no rows of orders in batch b under rule r"),
    ):
        with pytest.raises(DataFailed, match=problem):
            EntryDesk(settings, key)
