"""A readmission killed with -9 at any step: the same command again finishes it, exactly once."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from ml.settings import get_settings
from ml.stores.quarantine import EntryKey
from ml.stores.quarantine_files import write_export
from ml.stores.readmissions import EntryDesk
from tests.kill_points import Case, KillPoint, run_cases
from tests.readmission_shop import (
    NOT_POSITIVE,
    PLANTED,
    edit,
    make_history,
    make_quarantined,
    use,
    with_quantity,
)

LANDED = KillPoint("ml.stores.readmissions:EntryDesk.land", is_after=True, nth=1)
IN_RAW = KillPoint("ml.stores.raw:RawStore.append", is_after=True, nth=1)
REPAIRED = 4
"""Rows that the edited file repairs; the others are offered as they were, and refused."""
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in (1, 2))]


@pytest.fixture(scope="module")
def quarantined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A shop with rows in quarantine, and their batch. Beside it `rows.csv` and `more.csv`, two edited exports."""
    folder = tmp_path_factory.mktemp("quarantined")
    with pytest.MonkeyPatch.context() as patch:
        use(folder / "history", patch)
        make_history(folder / "history")
        use(folder / "shop", patch)
        batch = make_quarantined(folder / "history", folder / "shop")
        desk = EntryDesk(get_settings(), EntryKey("order_lines", batch, NOT_POSITIVE))
        for name in ("rows.csv", "more.csv"):
            write_export(folder / name, desk.key, desk.rows(), desk.open_positions().tolist(), desk.origin().schema)
    edit(folder / "rows.csv", lambda rows: with_quantity(rows[:REPAIRED]) + rows[REPAIRED:])
    edit(folder / "more.csv", lambda rows: with_quantity(rows, "7.0"))
    return folder, batch


def readmit(shop: Path, quarantined: tuple[Path, str], file: str = "rows.csv", **more: Any) -> Case:
    arguments = {"folder": str(shop), "batch": quarantined[1], "file": str(quarantined[0] / file)}
    return Case("tests.readmission_shop:readmit_file", arguments, **more)


def account(shop: Path, quarantined: tuple[Path, str]) -> Case:
    return Case("tests.readmission_shop:account", {"folder": str(shop), "batch": quarantined[1]})


def copy_of(quarantined: tuple[Path, str], folder: Path, name: str) -> Path:
    return Path(shutil.copytree(quarantined[0] / "shop", folder / name))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_readmission_is_finished_once_by_the_same_command(
    quarantined: tuple[Path, str], tmp_path: Path, seed: int
) -> None:
    whole = copy_of(quarantined, tmp_path, "whole")
    lived, expected = run_cases([readmit(whole, quarantined), account(whole, quarantined)])
    assert (lived.signal, lived.error, expected.error) == (0, None, None)
    assert expected.result["entry"] == [PLANTED, REPAIRED, 0, "open"]
    assert expected.result["decisions"] == [["readmit_repaired", PLANTED, REPAIRED, "repaired"]]
    assert sum(expected.result["missing"].values()) == PLANTED - REPAIRED
    points = [LANDED, IN_RAW, *random.Random(seed).sample(lived.kill_points(), 1)]  # noqa: S311  # no secret
    cases = []
    for number, kill in enumerate(points):
        shop = copy_of(quarantined, tmp_path, f"killed-{number}")
        killed = readmit(shop, quarantined, kill=kill, power_loss=str(shop / "var"))
        cases += [killed, readmit(shop, quarantined), account(shop, quarantined)]
    outcomes = run_cases(cases, timeout=580)
    for number, kill in enumerate(points):
        ended, again, found = outcomes[3 * number : 3 * number + 3]
        assert ended.signal == 9, f"nothing was killed {kill}"
        assert (again.error, found.error) == (None, None), str(kill)
        assert found.result == expected.result, str(kill)


def test_another_file_after_the_kill_cannot_bring_back_the_same_rows_again(
    quarantined: tuple[Path, str], tmp_path: Path
) -> None:
    shop = copy_of(quarantined, tmp_path, "shop")
    killed, again, found = run_cases(
        [readmit(shop, quarantined, kill=IN_RAW), readmit(shop, quarantined, "more.csv"), account(shop, quarantined)]
    )
    assert (killed.signal, again.error, found.error) == (9, None, None)
    assert found.result["entry"] == [PLANTED, PLANTED, 0, "readmitted"]
    assert found.result["missing"] == {}
    assert sorted(quantity for _, quantity in found.result["lines"]) == [2.0] * REPAIRED + [7.0] * (PLANTED - REPAIRED)
    assert [decision[2] for decision in found.result["decisions"]] == [REPAIRED, PLANTED - REPAIRED]


def nothing_is_back(desk: EntryDesk) -> Any:
    """In place of what raw tells: what only the operations database would know after a kill."""
    import numpy as np

    return np.array([], dtype=np.int64)


def test_without_raws_own_note_the_same_rows_come_back_twice(quarantined: tuple[Path, str], tmp_path: Path) -> None:
    shop = copy_of(quarantined, tmp_path, "shop")
    without = {"ml.stores.readmissions:EntryDesk.back": f"{__name__}:nothing_is_back"}
    killed, again, found = run_cases(
        [
            readmit(shop, quarantined, kill=IN_RAW),
            readmit(shop, quarantined, "more.csv", replaced=without),
            account(shop, quarantined),
        ]
    )
    assert (killed.signal, again.error) == (9, None)
    assert "AssertionError" in (found.error or ""), "twice as many rows came back as had been set aside"
