"""Every kind of incident has a runbook of its name, and no runbook is for a kind that nobody raises."""

from pathlib import Path

from ml.alerts.incidents import KINDS

ROOT = Path(__file__).resolve().parents[2]


def test_every_kind_of_incident_has_a_runbook():
    assert {page.stem for page in (ROOT / "docs" / "runbooks").glob("*.md")} == KINDS


def test_every_kind_is_raised_somewhere():
    code = "".join(
        file.read_text() for folder in ("ml", "expectations", "dags") for file in (ROOT / folder).rglob("*.py")
    )
    # Once in the list of kinds, and at least once where it is raised.
    assert [kind for kind in KINDS if code.count(f'"{kind}"') < 2] == []
