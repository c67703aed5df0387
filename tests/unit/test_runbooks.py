"""Every kind of incident has a runbook of its name, and no runbook is for a kind that nobody raises."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _kinds_raised() -> set[str]:
    kinds = set()
    for folder in ("ml", "expectations", "dags"):
        for file in (ROOT / folder).rglob("*.py"):
            kinds |= set(re.findall(r"\b(?:kind|KIND|[A-Z_]+_KIND)\s*=\s*\"([a-z_]+)\"", file.read_text()))
    return kinds


def test_every_incident_has_a_runbook():
    runbooks = {page.stem for page in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert _kinds_raised() == runbooks
