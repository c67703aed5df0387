"""Lineage: where a column comes from and where it goes."""

import json

import click

from ml.settings import get_settings


@click.command()
@click.argument("name")
@click.option("--rows", is_flag=True, help="Follow filters, joins and conditions too, not only values.")
@click.option("--json", "as_json_", is_flag=True, help="Everything above and below, as JSON.")
def lineage(name: str, rows: bool, as_json_: bool) -> None:
    """Print what NAME is made from and what it goes into, from raw column to model.

    NAME is a raw table or a column of one (raw.orders, raw.orders.ordered_at), a dbt model or a column of one
    (fct_orders, fct_orders.amount_cents), a feature (feat_customer.amount_cents_28d, or amount_cents_28d alone), a
    feature service or a model product (recommender).
    """
    from ml.lineage import tree
    from ml.lineage.graph import WHOLE
    from ml.lineage.impact import shop_graph
    from ml.lineage.manifest import current_manifest

    settings = get_settings()
    manifest = current_manifest(settings)
    graph = shop_graph(settings, manifest)
    found = graph.find(name)
    if not found:
        near = graph.near(name)
        raise click.UsageError(f"nothing is called {name}" + (f"; near are {', '.join(near)}" if near else ""))
    if len(found) > 1:
        raise click.UsageError(f"{name} may mean {', '.join(graph.label(ref).split(' ')[-1] for ref in found)}")
    ref = found[0]
    if as_json_:
        refs = graph.refs(ref.dataset) if ref.column == WHOLE else [ref]
        click.echo(json.dumps(tree.as_json(graph, refs) | {"origin": manifest.origin}, indent=1))
        return
    lines = tree.dataset_tree(graph, ref.dataset) if ref.column == WHOLE else tree.column_tree(graph, ref, rows=rows)
    click.echo("\n".join([*lines, "", f"read from {manifest.origin}"]))
