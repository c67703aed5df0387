"""The lineage of the real project, held against ways through it that were written by hand, up and down."""

import json
from collections.abc import Iterator
from itertools import pairwise

import pytest
from click.testing import CliRunner

from ml.cli.lineage import lineage
from ml.lineage.columns import ROWS, Ref
from ml.lineage.features import declared_features, match_features
from ml.lineage.graph import WHOLE, DatasetKind, Edge, Graph
from ml.lineage.impact import affected_by, shop_graph
from ml.lineage.manifest import built_manifest, compiled_project
from ml.outcomes import ToolFailed
from ml.recommender.features import CUSTOMER_FEATURES, PAIR_FEATURES, PRODUCT_FEATURES
from ml.settings import Settings, get_settings
from ml.shop.contract import CONTRACT
from ml.shop.contract.table import Tag

# Each way as it was read from the SQL by eye: `dataset column`, raw first. A name without a dot is a dataset without
# columns; `*` stands for rows, and a step that is reached by deciding rows or values instead of giving one has `~`.
PATHS = {
    "what a customer paid": """
        raw.order_lines.amount_cents  stg_shop__order_lines.amount_cents  int_order_lines__joined.amount_cents
        int_orders__totalled.amount_cents  int_customer_days__aggregated.amount_cents  feat_customer.amount_cents_28d
        feature:feat_customer.amount_cents_28d  recommender
    """,
    "a customer's rhythm": """
        raw.orders.ordered_at  raw.orders._event_date  stg_shop__orders.order_date  int_orders__known.order_date
        int_orders__totalled.order_date  int_customer_days__aggregated.previous_date
        feat_customer.median_days_between_orders
        feature:feat_customer.median_days_between_orders  recommender
    """,
    "the home store": """
        raw.orders.store_id  stg_shop__orders.store_id  int_orders__known.store_id  int_orders__totalled.store_id
        int_customer_stores__ranked.home_store_id  feat_customer.home_store_id  feature:feat_customer.home_store_id
    """,
    "a product's unit price": """
        raw.order_lines.quantity  stg_shop__order_lines.quantity  int_order_lines__joined.quantity
        int_purchases__sequenced.quantity  feat_product.mean_unit_price_cents_28d
        feature:feat_product.mean_unit_price_cents_28d  recommender
    """,
    "a product's discounts": """
        raw.order_lines.discount_cents  stg_shop__order_lines.discount_cents  int_order_lines__joined.discount_cents
        int_purchases__sequenced.discount_cents  feat_product.discount_share_28d
        feature:feat_product.discount_share_28d  recommender
    """,
    "whether an order is complete": """
        raw.order_lines.order_id  stg_shop__order_lines.order_id  int_order_lines__held.order_id
        int_orders__totalled.is_complete  fct_orders.is_complete  fairness_audit
    """,
    "how much of a product is bought": """
        raw.order_lines.quantity  stg_shop__order_lines.quantity  int_order_lines__joined.quantity
        fct_order_lines.quantity  feature:customer_product.last_quantity  recommender
    """,
    "what counts as merchandise": """
        raw.products.is_merchandise  stg_shop__products.is_merchandise  int_order_lines__joined.is_merchandise
        ~int_purchases__sequenced.*  feat_customer.count_products_91d  feature:feat_customer.count_products_91d
        recommender
    """,
    "which subcategory a product is of": """
        raw.products.subcategory  stg_shop__products.subcategory  dim_products.subcategory
        ~feature:customer_product.subcategory_recency_weight  recommender
    """,
    "an age band, which is only audited": """
        raw.demographics.age_band  stg_shop__demographics.age_band  audit_demographics.age_band  ~fairness_audit
    """,
    "a batch's rows": """
        raw.batches.rows_in  fct_row_conservation.rows_in  ~row_conservation
    """,
}

# The raw columns whose values make up a column: all of them, and no others.
MADE_FROM = {
    "feat_customer.amount_cents_28d": {"raw.order_lines.amount_cents"},
    "feat_customer.home_store_id": {"raw.orders.store_id"},
    "feat_customer.median_days_between_orders": {"raw.orders.ordered_at", "raw.orders._event_date"},
    "feat_customer.discount_share_91d": {"raw.order_lines.amount_cents", "raw.order_lines.discount_cents"},
    "feat_product.mean_unit_price_cents_28d": {"raw.order_lines.amount_cents", "raw.order_lines.quantity"},
    "fct_orders.currency": {"raw.orders.currency"},
    "dim_products.brand": {"raw.products.brand"},
    "dim_products_history.brand": {"raw.products.brand"},
    "audit_demographics.age_band": {"raw.demographics.age_band"},
    "customer_product.discount_share": {"raw.order_lines.amount_cents", "raw.order_lines.discount_cents"},
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(_env_file=None, state_dir=tmp_path_factory.mktemp("lineage"))


@pytest.fixture(scope="module")
def graph(settings: Settings) -> Graph:
    assert built_manifest(settings) is None
    return shop_graph(settings, compiled_project(settings))


def place(graph: Graph, text: str) -> Ref:
    kind, _, name = text.rpartition(":")
    if "." not in name:
        return next(Ref(each.id, WHOLE) for each in graph.datasets.values() if each.name == name and each.is_whole)
    dataset, _, column = name.rpartition(".")
    for prefix in (f"{kind} ",) if kind else ("", "model "):
        found = graph.datasets.get(prefix + dataset)
        if found is not None:
            assert column == ROWS or column in found.columns, text
            return Ref(found.id, column)
    raise AssertionError(f"{text} is not in the graph")


def steps(graph: Graph, path: str) -> Iterator[tuple[Ref, Ref, str]]:
    words = path.split()
    for source, target in pairwise(words):
        yield place(graph, source.lstrip("~")), place(graph, target.lstrip("~")), target


def test_every_model_of_the_project_can_be_read(graph):
    assert {each.id: each.unknown for each in graph.datasets.values() if each.unknown} == {}
    assert sum(each.kind is DatasetKind.MART for each in graph.datasets.values()) >= 10


@pytest.mark.parametrize("name", PATHS)
def test_a_way_written_by_hand_is_found_downwards_and_upwards(graph, name):
    walked = list(steps(graph, PATHS[name]))
    assert len(walked) >= 2
    for source, target, word in walked:
        allowed = (Edge.DEPENDS, Edge.READS) if word.startswith("~") else (Edge.DERIVES,)
        if graph.datasets[target.dataset].is_whole:
            allowed = (Edge.DERIVES, Edge.READS)
        direct = target in graph.below(source, allowed)
        within = source.dataset == target.dataset and target in graph.all_below([source])
        assert direct or within, f"{graph.label(source)} -> {graph.label(target)}"
        assert within or source in graph.above(target, allowed)
    first, last = walked[0][0], walked[-1][1]
    assert last in graph.all_below([first])
    assert first in graph.all_above([last])


@pytest.mark.parametrize("column", MADE_FROM)
def test_a_column_is_made_from_these_raw_columns_and_no_others(graph, column):
    dataset = column.partition(".")[0]
    waiting = [place(graph, column if f"model {dataset}" in graph.datasets else f"feature:{column}")]
    raw = set()
    while waiting:
        ref = waiting.pop()
        waiting += graph.above(ref, (Edge.DERIVES,))
        if graph.datasets[ref.dataset].kind is DatasetKind.RAW:
            raw.add(graph.label(ref))
    assert raw == MADE_FROM[column]


def test_no_audit_only_column_has_a_part_in_a_feature_or_a_model(graph):
    tagged = [
        Ref(f"raw.{table.name}", column.name)
        for table in CONTRACT.values()
        for column in table.columns
        if Tag.AUDIT_ONLY in column.tags
    ]
    reached = {graph.datasets[ref.dataset].kind for ref in graph.all_below(tagged)}
    assert DatasetKind.MART in reached
    assert reached & {DatasetKind.FEATURES, DatasetKind.SERVICE, DatasetKind.PRODUCT} == set()


def test_every_feature_of_the_ranker_but_those_of_its_own_code_is_known(graph, settings):
    declared = declared_features(settings)
    offered = [Ref(view, name) for view in graph.datasets if view.startswith("feature ")
               for name in graph.datasets[view].columns]  # fmt: skip
    names = [*PAIR_FEATURES, *CUSTOMER_FEATURES, *PRODUCT_FEATURES]
    found, own = match_features([*names, "candidate_rank"], declared, offered)
    assert own == ["candidate_rank"]
    expected = {f"feature feat_customer.{name}" for name in CUSTOMER_FEATURES.values()}
    expected |= {f"feature feat_product.{name}" for name in PRODUCT_FEATURES.values()}
    assert {graph.label(ref) for ref in found} == expected | {
        f"feature customer_product.{name}" for name in PAIR_FEATURES
    }


def test_what_a_renamed_column_would_reach(settings, graph, monkeypatch):
    with pytest.raises(ToolFailed, match="no build"):
        affected_by(settings, "products", ["brand"])
    monkeypatch.setattr("ml.lineage.impact.built_manifest", compiled_project)
    assert affected_by(settings, "products", ["brand"]) == [
        "model stg_shop__products",
        "model dim_products",
        "model int_products__versioned",
        "model dim_products_history",
        "model product recommender",
    ]
    reached = affected_by(settings, "order_lines", ["amount_cents"])
    assert {"model fct_orders", "feature feat_customer.amount_cents_28d", "model product recommender"} <= set(reached)
    assert not any("count_orders" in name for name in reached)
    assert affected_by(settings, "orders", ["a_new_column"]) == []


def test_the_command_prints_the_way_and_says_what_is_near(settings, monkeypatch):
    monkeypatch.setattr("ml.cli.lineage.get_settings", lambda: settings)
    get_settings.cache_clear()

    def run(*arguments):
        result = CliRunner().invoke(lineage, list(arguments))
        return result.exit_code, result.output

    code, output = run("amount_cents_364d")
    assert code == 0
    assert "\n            raw.order_lines.amount_cents\n" in output
    assert "read from the dbt project as it is" in output
    code, output = run("raw.orders.store_id", "--json")
    assert code == 0
    assert {"dataset": "model fct_orders", "column": "store_id"} in json.loads(output)["downstream"]
    code, output = run("amount_cents_28d")
    assert code == 2
    assert "may mean feat_customer.amount_cents_28d, feat_product.amount_cents_28d" in output
    code, output = run("fct_order")
    assert code == 2
    assert "near are fct_orders" in output
