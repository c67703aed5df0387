"""A product's slot follows the champion pointer and its chain; a refusal is an incident, told once."""

from datetime import date

import pytest

from ml.outcomes import DataFailed, ToolFailed
from ml.serving.loader import NO_MODEL, Loader, Slot
from ml.serving.slots import KIND, incidents_of, product_slot
from ml.stores import registry
from ml.stores.bundles import save_bundle
from ml.stores.operations import Operations, incidents

DAY = date(2024, 5, 5)


@pytest.fixture
def settings(configure):
    return configure(shop_id="small")


def _promoted(settings, count):
    versions = []
    for number in range(count):
        manifest = {"kind": "baseline", "trained_partition": DAY.isoformat(), "number": number}
        versions.append(save_bundle(settings, "fraud", manifest, {"parameters.json": b"{}"}).version)
        registry.promote(settings, "fraud", versions[-1], DAY)
    return versions


class _Parts:
    def __init__(self, version):
        self.model_version = version


def _slot(settings, refused=(), asked=None):
    def check(_settings, product, version):
        if asked is not None:
            asked.append(version)
        if version in refused:
            raise DataFailed(f"{version} is damaged")

    def fingerprint():
        current = registry.champion(settings, "fraud")
        return current.version if current else "none"

    return product_slot(settings, "fraud", fingerprint, _Parts, check)


def test_before_the_first_champion_parts_without_a_model_are_loaded(settings):
    asked = []
    slot = _slot(settings, asked=asked)
    slot.refresh()
    assert slot.current.model_version is None
    assert asked == []


def test_what_one_process_of_a_port_has_checked_no_other_checks_again(settings, tmp_path):
    _promoted(settings, 1)
    (version,) = _promoted(settings, 1)
    settings = settings.model_copy(update={"serving_checked_dir": tmp_path})
    asked = []
    for refused in ((version,), (), ()):  # what was refused is checked by each
        _slot(settings, refused=refused, asked=asked).refresh()
    assert asked.count(version) == 2


def test_promotion_and_rollback_are_followed(settings):
    versions = _promoted(settings, 2)
    slot = _slot(settings)
    slot.refresh()
    assert slot.current.model_version == versions[1]
    registry.rollback(settings, "fraud")
    slot.refresh()
    assert slot.current.model_version == versions[0]
    assert slot.condition() == {"version": versions[0], "refused": None, "is_older": False}


def test_a_damaged_champion_is_passed_over_for_the_nearest_before_it(settings):
    versions = _promoted(settings, 3)
    slot = _slot(settings, refused=versions[1:])
    slot.refresh()
    assert slot.current.model_version == versions[0]
    assert slot.condition() == {"version": versions[0], "refused": f"{versions[2]} is damaged", "is_older": True}


def test_with_all_of_the_chain_damaged_the_rest_is_loaded_without_a_model(settings):
    versions = _promoted(settings, 2)
    slot = _slot(settings, refused=versions)
    slot.refresh()
    assert slot.current.model_version == NO_MODEL
    assert slot.condition() == {"version": NO_MODEL, "refused": f"{versions[1]} is damaged", "is_older": True}


def test_what_is_loaded_is_what_was_checked_also_when_the_pointer_moves_in_between(settings):
    versions = _promoted(settings, 1)

    def check(_settings, _product, version):
        versions.extend(_promoted(settings, 2)[1:])  # somebody promotes while the child is at work

    slot = product_slot(settings, "fraud", lambda: "x", _Parts, check)
    slot.refresh()
    assert registry.champion(settings, "fraud").version == versions[1]
    assert slot.current.model_version == versions[0]


def test_a_version_is_checked_once_however_often_the_rest_changes(settings):
    versions = _promoted(settings, 1)
    asked, policy = [], ["policy 1"]

    def check(_settings, _product, version):
        asked.append(version)

    slot = product_slot(settings, "fraud", lambda: policy[0], _Parts, check)
    slot.refresh()
    policy[0] = "policy 2"
    assert slot.refresh()
    assert asked == versions


def _open(operations):
    return [(row["object"], row["severity"]) for row in operations.rows(incidents, kind=KIND, state="open")]


def test_a_refusal_opens_an_incident_that_names_the_reason_and_closes_when_the_newest_serves(settings):
    operations = Operations.from_settings(settings)
    state = {"fingerprint": "1", "error": DataFailed("model.json: the bytes do not match")}

    def load():
        if state["error"]:
            raise state["error"]
        return _Parts("v")

    loader = Loader(
        [Slot("fraud", lambda: state["fingerprint"], load, check=lambda: None, alternatives=tuple)],
        tell=incidents_of(operations),
    )
    loader.load_now()
    loader.load_now()
    assert _open(operations) == [("fraud", "alert")]
    row = operations.rows(incidents, kind=KIND)[0]
    assert "model.json: the bytes do not match" in row["body"]
    assert row["count"] == 1
    state.update(fingerprint="2", error=None)
    loader.load_now()
    assert _open(operations) == []


def test_one_accident_is_no_incident_and_three_in_a_row_are_unknown(settings):
    operations = Operations.from_settings(settings)

    def busy():
        raise ToolFailed("the store is busy")

    slot = Slot("fraud", lambda: "1", busy, check=lambda: None, alternatives=tuple)
    loader = Loader([slot], tell=incidents_of(operations))
    for expected in ([], [], [("fraud", "unknown")]):
        slot._again_at = 0.0
        loader.load_now()
        assert _open(operations) == expected
