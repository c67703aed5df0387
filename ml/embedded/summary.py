"""What a person wants to read when the lifecycle is done. Read from the operational record and the version stores."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import func, select

from ml.embedded.asking import Asked
from ml.embedded.landmarks import FRAUD, PRODUCT
from ml.embedded.stack import Stack
from ml.monitoring.staleness import stale_marks
from ml.settings import Settings
from ml.stores.fraud_tables import decisions, review_cases
from ml.stores.operations import Operations, gate_verdicts, incidents, monitor_states, promotions
from ml.stores.versions import VersionStore

_WIDTH = 100
# Product -> the figures that methods are shown by; the first one orders them.
_METRICS = {
    PRODUCT: ("ndcg_at_10", "recall_at_10", "hit_rate_at_10", "coverage"),
    FRAUD: ("average_precision", "recall_at_1pct", "expected_calibration_error", "saved_cents_per_1000_orders"),
}


def summary_lines(
    stack: Stack,
    operations: Operations,
    stages: Sequence[tuple[str, float]],
    asked: Sequence[Asked] = (),
    *,
    stays: bool,
) -> Iterator[str]:
    """The summary, line by line.

    Args:
        asked: What the API answered at the end.
        stays: Airflow, MLflow and the API go on running, so that they can be looked at and asked.
    """
    settings = stack.settings
    yield ""
    yield f"{f' {settings.shop_id} ':=^{_WIDTH}}"
    yield from _rows(operations)
    yield from _published(settings)
    yield from (f"  {mark}" for mark in stale_marks(settings))
    yield "Promotion"
    yield from _promotion(operations, PRODUCT)
    yield from _promotion(operations, FRAUD)
    yield from _fraud(settings, operations)
    yield from _asked(asked)
    yield from _monitors(operations)
    yield from _incidents(operations)
    yield from _times(stages)
    yield from _pages(stack, stays)
    yield "=" * _WIDTH


def _rows(operations: Operations) -> Iterator[str]:
    verdicts = operations.rows(gate_verdicts, gate="arrivals")
    yield "Rows at the arrival gate (in = published + quarantined + collapsed duplicates)"
    yield f"  {'table':<20}{'batches':>8}{'in':>12}{'published':>12}{'quarantined':>12}{'collapsed':>12}  not passed"
    for table in sorted({verdict["object"] for verdict in verdicts}):
        of_table = [verdict for verdict in verdicts if verdict["object"] == table]
        counts = [sum(v[f"rows_{name}"] for v in of_table) for name in ("in", "published", "quarantined", "collapsed")]
        refused = [
            f"{verdict['batch_id']} {verdict['status']}" for verdict in of_table if verdict["status"] != "passed"
        ]
        numbers = "".join(f"{count:>12,}" for count in counts)
        yield f"  {table:<20}{len(of_table):>8}{numbers}  {', '.join(refused) or '-'}"


def _published(settings: Settings) -> Iterator[str]:
    yield "Published"
    for title, store in (
        ("raw", VersionStore(settings.shop_dir / "raw")),
        ("marts", VersionStore(settings.shop_dir / "warehouse" / "marts")),
        ("recommendations", VersionStore(settings.shop_dir / "recommendations")),
    ):
        version = store.current()
        if version is None:
            yield f"  {title:<18} nothing"
            continue
        rows = {table: sum(part.rows for part in version.parts_of(table)) for table in version.tables()}
        biggest = sorted(rows.items(), key=lambda item: -item[1])[:5]
        told = ", ".join(f"{table} {count:,}" for table, count in biggest)
        yield f"  {title:<18} {version.id}  {told}"


def _promotion(operations: Operations, product: str) -> Iterator[str]:
    verdicts = operations.rows(promotions, product=product)
    for verdict in verdicts:
        against = f"against {verdict['champion']}" if verdict["champion"] else "as the first"
        yield f"  {verdict['partition']}  {verdict['challenger']} {against}: {verdict['verdict'].upper()}"
        for rule in verdict["rules"]:
            limit = rule.get("threshold")
            told = f"{_number(rule.get('observed'))}{'' if limit is None else f' (limit {_number(limit)})'}"
            yield f"    {rule['status']:<8} {rule['rule']:<44} {told}"
    if verdicts:
        yield from _metrics(verdicts[-1]["metrics"], _METRICS[product])


def _metrics(metrics: dict[str, Any], names: Sequence[str]) -> Iterator[str]:
    """A line per method: the model, the baselines, and the champion where it was judged too."""
    first = names[0]
    per_model = {name: values for name, values in metrics.items() if isinstance(values, dict) and first in values}
    if not per_model:
        return
    yield f"  {'Quality on the same days':<26}" + "".join(f"{name:>30}" for name in names)
    for name, values in sorted(per_model.items(), key=lambda item: -item[1][first]):
        yield f"    {name:<24}" + "".join(f"{_number(values.get(metric)):>30}" for metric in names)


def _fraud(settings: Settings, operations: Operations) -> Iterator[str]:
    """What was decided about orders. Simulated payments are named so."""
    with operations.transaction() as connection:
        by_action = connection.execute(
            select(decisions.c.action, func.count(), func.sum(decisions.c.amount_cents)).group_by(decisions.c.action)
        ).all()
        waiting = connection.execute(
            select(func.count()).select_from(review_cases).where(review_cases.c.state.in_(("open", "claimed")))
        ).scalar_one()
    if not by_action:
        return
    origin = "SIMULATED payments" if settings.simulates_payments else "the shop's payments"
    yield f"Fraud decisions ({origin})"
    for action, count, cents in sorted(by_action):
        yield f"  {action:<12}{count:>10,} orders{cents / 100:>16,.2f} {settings.currency}"
    yield f"  {waiting:,} cases wait for review"


def _asked(asked: Sequence[Asked]) -> Iterator[str]:
    if asked:
        yield "Asked of the API"
    for one in asked:
        answer = one.answer
        given = answer.get("action") or ", ".join(str(item["product_id"]) for item in answer["items"])
        step = f"step {answer['step']}{', degraded' if answer['degraded'] else ''}"
        yield f"  {one.what:<18} {given} ({step}; {one.milliseconds:.0f} ms; {answer['model_version'] or 'no model'})"


def _monitors(operations: Operations) -> Iterator[str]:
    states = operations.rows(monitor_states)
    yield "Monitoring (newest day of each)"
    newest = {(state["monitor"], state["object"]): state for state in sorted(states, key=lambda s: s["partition"])}
    by_monitor: dict[str, list[dict[str, Any]]] = {}
    for state in newest.values():
        by_monitor.setdefault(state["monitor"], []).append(state)
    for monitor, found in sorted(by_monitor.items()):
        counts = {name: sum(state["state"] == name for state in found) for name in ("ok", "warn", "alert", "unknown")}
        named = [f"{state['object']} {state['state']}" for state in found if state["state"] != "ok"][:4]
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        yield f"  {monitor:<18} {max(state['partition'] for state in found)}  {told}" + (
            f" ({', '.join(named)})" if named else ""
        )


def _incidents(operations: Operations) -> Iterator[str]:
    open_now = operations.rows(incidents, state="open")
    yield f"Open incidents: {len(open_now)}"
    for incident in open_now:
        yield f"  {incident['severity']:<8} {incident['title'][:_WIDTH]}"


def _times(stages: Sequence[tuple[str, float]]) -> Iterator[str]:
    if stages:
        yield "Time"
        for name, seconds in stages:
            yield f"  {name:<60} {seconds:7.0f} s"


def _pages(stack: Stack, stays: bool) -> Iterator[str]:
    yield "Pages (this machine only; commands are in .venv/bin)"
    if stays:
        yield f"  Airflow            {stack.ports.airflow_url}  user admin, password in {stack.layout.passwords}"
        yield f"  MLflow             {stack.ports.mlflow_url}/#/experiments"
        yield f'  API                {stack.ports.serving_url}  key in {stack.layout.api_key}; README, "Ask it"'
    else:
        yield "  All servers        ended; `make up` goes on from here and keeps them running"
    yield "  One page of all    shopwright report status"
    yield "  Drift report       shopwright report drift [--product fraud]"
    yield "  Verdicts and rows  shopwright gates [--html], shopwright quarantine list"
    yield "  Models             shopwright promotions, shopwright recommend CUSTOMER_ID"
    yield "  Fraud              shopwright reviews list, shopwright decisions show ORDER_ID, shopwright policy show"
    yield "  Alerts             shopwright alerts, shopwright freshness"


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:.4f}"
    return "-" if value is None else str(value)
