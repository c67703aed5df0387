"""Pages for people, made on demand from what is kept as JSON. They hold names, counts and distributions, no rows."""

import html
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml.outcomes import DataFailed

_COLOURS = {"ok": "#1a7f37", "warn": "#9a6700", "alert": "#cf222e", "unknown": "#6e7781"}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2328; background: #f6f8fa; margin: 0; }
main { max-width: 60rem; margin: 2rem auto; padding: 0 1.5rem; }
section { background: #fff; border: 1px solid #d1d9e0; border-radius: 8px; padding: .5rem 1.25rem 1rem;
  margin: 1rem 0; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; } p.note { color: #59636e; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .35rem .6rem; }
th { color: #59636e; font-weight: 600; } tr + tr td { border-top: 1px solid #eaeef2; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.state { color: #fff; border-radius: 1em; padding: .1em .7em; font-size: .85em; }
"""


def drift_page(snapshot: bytes) -> str:
    """Evidently's own page of a kept comparison.

    Args:
        snapshot: JSON of Evidently's snapshot.

    Raises:
        DataFailed: The bytes are not a snapshot.
    """
    from evidently.core.report import Snapshot

    try:
        loaded = Snapshot.loads(snapshot.decode())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataFailed(f"the kept comparison cannot be read ({type(error).__name__}); run the check again") from None
    with tempfile.TemporaryDirectory(prefix="shopwright-") as folder:
        page = Path(folder) / "drift.html"
        loaded.save_html(str(page))
        return page.read_text()


def status_page(
    shop_id: str,
    states: Sequence[Mapping[str, Any]],
    incidents: Sequence[Mapping[str, Any]],
    links: Mapping[str, str],
    stale: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """One page: what is open, the newest state of each monitor, and where the other pages are.

    Args:
        states: Rows of `monitor_states`.
        incidents: Open rows of `incidents`.
        links: Label -> address.
        stale: What is published and older than it may be, one line each.
        notes: What a reader has to know before anything else, such as that payments are made up.
    """
    sections = [
        *([_section("Stale", "".join(f"<p>{html.escape(line)}</p>" for line in stale))] if stale else []),
        _section("Open incidents", _incident_rows(incidents) or "<p>None.</p>"),
        _section("Monitors", _state_rows(states) or "<p>Nothing was judged yet.</p>"),
        _section("Pages", _link_rows(links) or "<p>None yet.</p>"),
    ]
    told = "".join(f'<p class="note">{html.escape(note)}</p>' for note in notes)
    title = f"Shopwright · {html.escape(shop_id)}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><main><h1>{title}</h1>{told}{''.join(sections)}</main></body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{content}</section>"


def _incident_rows(incidents: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [_badge(row["severity"]), *_escaped(row["title"], row["kind"], row["opened_partition"], row["last_partition"])]
        for row in incidents
    ]
    return _table(["", "what", "kind", "since", "last seen"], rows)


def _state_rows(states: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for row in states:
        figures = [_figure(row["value"]), _figure(row["threshold"])]
        rows.append([_badge(row["state"]), *_escaped(row["monitor"], row["object"], row["partition"]), *figures])
    return _table(["", "monitor", "of", "shop day", "value", "alert at"], rows)


def _link_rows(links: Mapping[str, str]) -> str:
    rows = []
    for label, address in links.items():
        is_safe = address.startswith(("http://", "https://")) or ("://" not in address and ":" not in address)
        rows.append([f'<a href="{html.escape(address)}">{html.escape(label)}</a>' if is_safe else html.escape(label)])
    return _table([""], rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _badge(state: str) -> str:
    return (
        f'<span class="state" style="background:{_COLOURS.get(state, _COLOURS["unknown"])}">{html.escape(state)}</span>'
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _escaped(*cells: object) -> list[str]:
    return [html.escape(str(cell)) for cell in cells]
