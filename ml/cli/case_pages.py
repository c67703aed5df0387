"""A decision and a case as text, for the terminal."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from ml.cli.tables import print_table
from ml.fraud.reason_titles import entity_words

_LABELS = {True: "fraud", False: "no fraud", None: "not known yet"}


def as_json(shown: Mapping[str, Any]) -> str:
    """The same as JSON; moments in ISO 8601."""
    return json.dumps(shown, indent=1, default=_iso)


def _iso(value: object) -> str:
    assert isinstance(value, datetime), f"{type(value).__name__} in a case"
    return value.isoformat()


def print_decision(shown: Mapping[str, Any]) -> None:
    """What was decided, why, by which rules, beside what is usual, and what would have changed it."""
    if shown["data"]:
        click.echo(f"[{shown['data']}]")
    click.echo(f"order {shown['order_id']} of {_minute(shown['ordered_at'])}, {_money(shown['amount_cents'])}")
    score = "no model scored it" if shown["score"] is None else f"probability of fraud {100 * shown['score']:.3g}%"
    click.echo(f"decision: {shown['action']} by {shown['source']}; {score}")
    click.echo(
        f"decided {_minute(shown['decided_at'])}, policy {shown['policy_version']}, "
        f"model {shown['model_version'] or 'none'}, marts {shown['marts_version'] or 'not noted'}"
    )
    if shown["would_decline"] and shown["action"] != "decline":
        click.echo(f"the policy would decline; let through to {shown['action']} (propensity {shown['propensity']:.3g})")
    costs = ", ".join(f"{action} {_money(cents)}" for action, cents in shown["expected_costs"].items())
    click.echo(f"expected costs: {costs or 'not known'}")
    _print_reasons(shown["reasons"])
    _print_rules(shown["rule_trace"])
    _print_normal(shown["normal"])
    if shown["hint"]:
        click.echo(f"\nwhat would have changed it: {shown['hint']}")


def print_case(shown: Mapping[str, Any]) -> None:
    """The same with linked orders, similar cases and the case's trail."""
    print_decision(shown)
    case = shown["case"]
    held = f" by {case['claimed_by']} until {_minute(case['claim_expires_at'])}" if case["state"] == "claimed" else ""
    found = f": {case['verdict']}, {case['decided_by']}, {_minute(case['decided_at'])}" if case["verdict"] else ""
    click.echo(f"\ncase: {case['state']}{held}{found}")
    if case["note"]:
        click.echo(f"note: {case['note']}")
    if shown["linked_entities"]:
        click.echo()
        print_table(
            ["shared", "other orders", "customers", "known frauds", "first", "newest"],
            [
                [
                    *(one[name] for name in ("words", "count_orders", "count_customers", "count_frauds")),
                    *(_minute(one[name]) for name in ("first_at", "last_at")),
                ]
                for one in shown["linked_entities"]
            ],
        )
    if shown["linked_orders"]:
        click.echo()
        print_table(
            ["linked order", "at (UTC)", "amount", "shares", "known"],
            [
                [
                    *(one["order_id"], _minute(one["attempted_at"]), _money(one["amount_cents"])),
                    *(", ".join(entity_words(entity) for entity in one["shared"]), _LABELS[one["is_fraud"]]),
                ]
                for one in shown["linked_orders"]
            ],
        )
    if shown["similar"]:
        click.echo()
        print_table(
            ["similar case", "decision", "known", "distance"],
            [
                [one["order_id"], one["action"], _LABELS[one["is_fraud"]], f"{one['distance']:.2f}"]
                for one in shown["similar"]
            ],
        )
    click.echo()
    rows = [[_minute(event["happened_at"]), event["event"], event["by"], event["note"]] for event in shown["trail"]]
    print_table(["when (UTC)", "what", "who", "note"], rows)


def _print_reasons(reasons: Sequence[Mapping[str, Any]]) -> None:
    if not reasons:
        click.echo("no reasons: no model scored it")
        return
    click.echo()
    print_table(
        ["reason", "log-odds", "what was seen", "usual"],
        [[one["title"], f"{one['contribution']:+.2f}", one["text"], _usual(one)] for one in reasons],
    )


def _usual(reason: Mapping[str, Any]) -> str | None:
    usual = reason.get("usual")
    if usual is None:
        return None
    name = str(reason.get("feature") or "")
    if "seconds" in name:
        return f"{usual / 3600:.3g} hours"
    if "rate" in name:
        return f"{100 * usual:.3g}%"
    return _money(usual) if "amount" in name else f"{usual:.3g}"


def _print_rules(trace: Sequence[Mapping[str, Any]]) -> None:
    matched = [one for one in trace if one.get("matched")]
    click.echo(f"\nrules: {len(matched)} of {len(trace)} matched")
    for one in matched:
        why = f": {one['why']}" if one.get("why") else ""
        click.echo(f"  {one['rule']} -> {one['action']}{' (capped)' if one.get('capped') else ''}{why}")


def _print_normal(lines: Sequence[Mapping[str, Any]]) -> None:
    if not lines:
        click.echo("no earlier orders of this customer are known")
        return
    click.echo()
    print_table(
        ["the customer", "this order", "usual", "give or take"],
        [
            [line["what"], *(_amount(line[name], line["unit"]) for name in ("order", "usual", "spread"))]
            for line in lines
        ],
    )


def _amount(value: float | None, unit: str) -> str | None:
    if value is None:
        return None
    return _money(value) if unit == "cents" else f"{value:.3g}"


def _money(cents: float) -> str:
    return f"{cents / 100:,.2f}"


def _minute(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"
