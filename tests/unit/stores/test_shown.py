"""What was shown is kept for as long as it is watched, also after its version was pruned."""

from datetime import date, timedelta

import pyarrow as pa
import pytest

from ml.stores.shown import SCORED, SHOWN, ShownStore
from ml.stores.versions import VersionStore

DAY = date(2017, 11, 20)


@pytest.fixture
def settings(configure):
    return configure()


def publish(settings, day: date, product: str = "milk", tables: tuple[str, ...] = (SHOWN, SCORED)) -> str:
    store = VersionStore(settings.shop_dir / "recommendations")
    content = {
        SHOWN: pa.table(
            {"customer_id": ["ann"], "rank": [1], "product_id": [product], "score": [0.5], "reason": ["r"]}
        ),
        SCORED: pa.table({"score": [0.5, 0.25]}),
    }
    parts = [store.write_part(table, day.isoformat(), content[table]) for table in tables]
    current = store.current()
    lineage = {"as_of_date": day.isoformat(), "model_version": "m1"}
    return store.publish(parts, lineage, current.id if current else None).id


def test_a_day_is_kept_with_what_is_needed_of_it(settings):
    version = publish(settings, DAY)
    store = ShownStore(settings, "recommender")
    day = store.keep(DAY)
    assert (day.version, day.model_version) == (version, "m1")
    assert store.read(day, SHOWN).to_dict("list") == {"customer_id": ["ann"], "rank": [1], "product_id": ["milk"]}
    assert list(store.read(day, SCORED)["score"]) == [0.5, 0.25]


def test_a_day_is_kept_after_its_version_was_pruned(settings):
    publish(settings, DAY)
    store = ShownStore(settings, "recommender")
    store.keep(DAY)
    for later in range(1, 4):
        publish(settings, DAY + timedelta(days=later))
        store.keep(DAY + timedelta(days=later))
    VersionStore(settings.shop_dir / "recommendations").prune(2)
    assert [day.as_of_date for day in store.days()] == [DAY + timedelta(days=later) for later in range(4)]
    assert store.read(store.keep(DAY), SHOWN)["product_id"].tolist() == ["milk"]


def test_keeping_twice_changes_nothing_and_a_new_publication_replaces(settings):
    publish(settings, DAY)
    store = ShownStore(settings, "recommender")
    kept = VersionStore(settings.shop_dir / "shown" / "recommender")
    store.keep(DAY)
    first = kept.current()
    store.keep(DAY)
    assert kept.current() == first
    publish(settings, DAY, product="bread")
    assert store.read(store.keep(DAY), SHOWN)["product_id"].tolist() == ["bread"]
    assert len(store.days()) == 1


def test_days_out_of_the_window_are_let_go(settings):
    store = ShownStore(settings, "recommender")
    for offset in (0, 35, 36):
        publish(settings, DAY + timedelta(days=offset))
        store.keep(DAY + timedelta(days=offset))
    assert [(day.as_of_date - DAY).days for day in store.days()] == [35, 36]


def test_a_day_of_which_nothing_is_known_is_none(settings):
    store = ShownStore(settings, "recommender")
    assert (store.keep(DAY), store.newest_published()) == (None, None)
    publish(settings, DAY)
    assert (store.keep(DAY + timedelta(days=1)), store.newest_published()) == (None, DAY)


def test_a_day_without_a_sample_says_so(settings):
    publish(settings, DAY, tables=(SHOWN,))
    store = ShownStore(settings, "recommender")
    assert store.read(store.keep(DAY), SCORED) is None
