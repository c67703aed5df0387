"""When each gate was last proven to block, as one HTML page."""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from itertools import groupby
from pathlib import Path

from ml.cli.gate_page import GATE_TITLES, STYLE, tag
from ml.cli.selftest.record import Standing
from ml.settings import Settings
from ml.stores.durable import write_durably

PAGE = "selftest.html"


def write_selftest_page(settings: Settings, found: Sequence[Standing]) -> Path:
    """Write the page under the shop's `reports` folder, to which the status page links."""
    path = settings.shop_dir / "reports" / PAGE
    bad = sum(standing.state != "proven" for standing in found)
    overview = (
        f"{len(found)} bad inputs, {bad} of them not proven to be blocked"
        if bad
        else f"{len(found)} bad inputs, all blocked"
    )
    sections = [_section(gate, list(of_gate)) for gate, of_gate in groupby(found, key=lambda standing: standing.gate)]
    title = f"Self-test of the gates of {escape(settings.shop_id)}"
    page = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style></head><body><main>"
        f"<h1>{title}</h1><p>{overview}. Each was fed to the gate in an isolated copy of a small shop, and nothing "
        f"after the gate may have run. A proof older than eight days is unknown. <a href='gates.html'>Verdicts</a></p>"
        f"{''.join(sections)}</main></body></html>"
    )
    write_durably(path, page.encode())
    return path


def _section(gate: str, found: list[Standing]) -> str:
    rows = "".join(
        f"<tr><td>{tag(standing.state)}</td><td>{escape(standing.bad_input)}</td><td>{moment(standing.proven_at)}</td>"
        f"<td>{escape(standing.detail) if standing.state != 'proven' else ''}</td></tr>"
        for standing in found
    )
    return (
        f"<h2>{escape(GATE_TITLES.get(gate, gate))}</h2><div class='row'><table>"
        f"<tr><th></th><th>bad input</th><th>last proven</th><th>what is wrong</th></tr>{rows}</table></div>"
    )


def moment(when: datetime | None) -> str:
    """For people: to the minute, or never."""
    return f"{when:%Y-%m-%d %H:%M} UTC" if when else "never"
