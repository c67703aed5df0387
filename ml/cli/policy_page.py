"""Cost against threshold as a page of its own: one SVG, no script, nothing loaded from elsewhere."""

from html import escape
from pathlib import Path

import numpy as np

from ml.cli.gate_page import STYLE
from ml.cli.past_orders import Past
from ml.fraud.cost_curve import CostCurve
from ml.fraud.expression_values import Floats
from ml.fraud.policy import Policy
from ml.settings import Settings
from ml.stores.durable import write_durably

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 1000, 440, 90, 48, 20, 20
_LEAST = 1e-4  # the axis of thresholds is logarithmic, and begins here
_OWN_STYLE = """
svg { width: 100%; height: auto; background: var(--paper); border: 1px solid var(--line); border-radius: 8px; }
svg text { fill: var(--soft); font: 13px system-ui, sans-serif; } svg .grid { stroke: var(--line); }
svg .actual { stroke: #0b6bcb; } svg .expected { stroke: #9a6bd8; stroke-dasharray: 6 5; }
svg .policy { stroke: #0d8a4a; } svg .all { stroke: #c0392b; stroke-dasharray: 2 5; }
svg path, svg .level { fill: none; stroke-width: 2.5; } svg .best { fill: #0b6bcb; }
.key span { margin-right: 24px; } .key b { display: inline-block; width: 26px; height: 4px; margin-right: 8px; }
"""


def write_policy_page(settings: Settings, policy: Policy, curve: CostCurve, past: Past) -> Path:
    """Write `reports/policy_<version>.html` under the state folder."""
    path = settings.shop_dir / "reports" / f"policy_{policy.version}.html"
    made_up = " Payments and frauds are simulated." if settings.simulates_payments else ""
    title = f"Policy {policy.version}: cost against threshold"
    page = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}{_OWN_STYLE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1><p>{curve.orders:,} mature orders from {past.first_day} to {past.last_day}, "
        f"{curve.frauds:,} of them frauds; model {escape(past.model_version or 'none')}. Costs are "
        f"{escape(settings.currency)} per 1,000 orders.{made_up}</p>{_key()}{_svg(curve)}"
        f"<p>Read it so: every order of at least the threshold is declined, the others are approved. Where what it "
        f"would have cost and what the probabilities expect part, the probabilities are off. The policy itself also "
        f"challenges, reviews and has rules, so it can lie below the curve's best.</p></main></body></html>"
    )
    write_durably(path, page.encode())
    return path


def _key() -> str:
    lines = [
        ("#0b6bcb", "declining from the threshold on, as it turned out"),
        ("#9a6bd8", "the same, as the probabilities expect"),
        ("#0d8a4a", "the policy as it is"),
        ("#c0392b", "approving all"),
    ]
    return "<p class='key'>" + "".join(
        f"<span><b style='background:{colour}'></b>{escape(text)}</span>" for colour, text in lines
    ) + "</p>"  # fmt: skip


def _svg(curve: CostCurve) -> str:
    highest = _round_up(float(max(curve.approve_all * 1.6, curve.policy * 1.2, curve.actual.min() * 2, 1.0)))
    parts = []
    for step in range(6):
        value = highest * step / 5
        y = _y(value, highest)
        parts.append(f"<line class='grid' x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y}' y2='{y}'/>")
        parts.append(f"<text x='{_LEFT - 10}' y='{y + 4}' text-anchor='end'>{value / 100:,.0f}</text>")
    for exponent in range(-4, 1):
        at = _x(10.0**exponent)
        parts.append(f"<text x='{at}' y='{_HEIGHT - _BOTTOM + 22}' text-anchor='middle'>{10.0**exponent:g}</text>")
    parts.append(
        f"<text x='{_WIDTH / 2}' y='{_HEIGHT - 6}' text-anchor='middle'>threshold on the probability of fraud</text>"
    )
    parts.append(_level(curve.approve_all, highest, "all"))
    parts.append(_path(curve.threshold, curve.expected, highest, "expected"))
    parts.append(_path(curve.threshold, curve.actual, highest, "actual"))
    parts.append(_level(curve.policy, highest, "policy"))
    best = (_x(float(curve.threshold[curve.best])), _y(float(curve.actual[curve.best]), highest))
    parts.append(f"<circle class='best' cx='{best[0]}' cy='{best[1]}' r='6'/>")
    return (
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='cost against threshold'>{''.join(parts)}</svg>"
    )


def _path(
    thresholds: Floats,
    costs: Floats,
    highest: float,
    name: str,
) -> str:
    points = [(_x(float(at)), _y(float(cost), highest)) for at, cost in zip(thresholds, costs, strict=True)]
    return f"<path class='{name}' d='M{' L'.join(f'{x} {y}' for x, y in points)}'/>"


def _level(cost: float, highest: float, name: str) -> str:
    y = _y(cost, highest)
    return f"<line class='level {name}' x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y}' y2='{y}'/>"


def _x(threshold: float) -> float:
    share = (np.log10(max(threshold, _LEAST)) - np.log10(_LEAST)) / -np.log10(_LEAST)
    return round(float(_LEFT + share * (_WIDTH - _LEFT - _RIGHT)), 1)


def _y(cost: float, highest: float) -> float:
    """Costs above the top are drawn at it: declining nearly everybody is off the page."""
    share = min(max(cost / highest, 0.0), 1.0)
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP), 1)


def _round_up(value: float) -> float:
    unit = 10.0 ** np.floor(np.log10(value))
    return float(np.ceil(value / unit) * unit)
