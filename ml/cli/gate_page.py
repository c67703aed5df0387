"""The verdicts of the gates as one HTML page: counts and rules, no values."""

from collections import Counter
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from ml.settings import Settings
from ml.stores.durable import write_durably

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #64707f; --line: #dde3ea; --paper: #fff; --back: #f5f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #97a3b3; --line: #2f3947; --paper: #1b222c; --back: #12171e; }
}
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 32px 0 10px; }
p { color: var(--soft); margin: 18px 0 8px; } h1 + p { margin-top: 0; }
details, .row { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; margin: 6px 0; }
summary { display: grid; grid-template-columns: 92px 1.2fr 2fr repeat(4, 1fr); gap: 12px; padding: 9px 14px; }
summary { cursor: pointer; align-items: baseline; } summary .n { text-align: right; }
.n { font-variant-numeric: tabular-nums; } .n small { display: block; color: var(--soft); font-size: 11px; }
code { font: 12.5px ui-monospace, monospace; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; border-top: 1px solid var(--line); font-size: 13.5px; }
td, th { text-align: left; padding: 5px 14px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 500; }
.tag { border-radius: 99px; padding: 1px 9px; font-size: 12px; font-weight: 600; white-space: nowrap; }
.tag { justify-self: start; }
.passed, .proven { background: #d8f3e0; color: #0d5a2b; } .failed { background: #fbdcdc; color: #8d1414; }
.unknown { background: #ece2fb; color: #4f1f9c; } .set_aside, .warned { background: #fcefcf; color: #7a5200; }
"""
_WORDS = {"set_aside": "set aside"}
GATE_TITLES = {
    "arrivals": "Arrivals: what the shop delivered",
    "dbt_tests": "Data tests and contracts: what dbt found while it built",
    "feature_parity": "Feature parity: what is served online",
    "marts": "Marts: what the warehouse built",
    "model_inputs": "Model inputs: what models are trained on",
    "promotion": "Promotion: which model may serve",
}


def write_gate_page(settings: Settings, verdicts: list[dict[str, Any]]) -> Path:
    """Write the page of these verdicts; the newest stand first."""
    path = settings.shop_dir / "reports" / "gates.html"
    ordered = sorted(verdicts, key=lambda verdict: (verdict["gate"], _negated(verdict["partition"]), verdict["id"]))
    sections = [
        _section(gate, list(found)) for gate, found in groupby(ordered, key=lambda verdict: str(verdict["gate"]))
    ]
    counts = Counter(verdict["status"] for verdict in verdicts)
    overview = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "nothing judged yet"
    page = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Gates of {escape(settings.shop_id)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style></head><body><main>"
        f"<h1>Gates of {escape(settings.shop_id)}</h1><p>{overview}. Counts, rules and names only; rows that were set "
        f"aside lie in quarantine: <code>shopwright quarantine list</code>. Whether the gates block is proven by "
        f"<code>shopwright gates selftest</code>.</p>{''.join(sections)}</main></body></html>"
    )
    write_durably(path, page.encode())
    return path


def _negated(day: str) -> int:
    return -int(day.replace("-", ""))


def _section(gate: str, verdicts: list[dict[str, Any]]) -> str:
    days = groupby(verdicts, key=lambda verdict: str(verdict["partition"]))
    blocks = "".join(f"<p>Shop day {escape(day)}</p>{''.join(map(_verdict, found))}" for day, found in days)
    return f"<h2>{escape(GATE_TITLES.get(gate, gate))}</h2>{blocks}"


def _verdict(verdict: dict[str, Any]) -> str:
    numbers = "".join(
        f"<span class='n'>{verdict[f'rows_{name}']:,}<small>{name}</small></span>"
        for name in ("in", "published", "quarantined", "collapsed")
    )
    is_open = " open" if verdict["status"] != "passed" else ""
    rules = "".join(map(_rule, sorted(verdict["rules"], key=lambda rule: rule["status"] == "passed")))
    return (
        f"<details{is_open}><summary>{tag(verdict['status'])}<b>{escape(verdict['object'])}</b>"
        f"<code>{escape(verdict['batch_id'])}</code>{numbers}</summary>"
        f"<table><tr><th></th><th>rule</th><th>expected</th><th>found</th></tr>{rules}</table></details>"
    )


def _rule(rule: dict[str, Any]) -> str:
    cells = "".join(f"<td>{escape(str(rule[name]))}</td>" for name in ("expected", "observed"))
    return f"<tr><td>{tag(rule['status'])}</td><td><code>{escape(rule['rule'])}</code></td>{cells}</tr>"


def tag(status: str) -> str:
    return f"<span class='tag {escape(status)}'>{escape(_WORDS.get(status, status))}</span>"
