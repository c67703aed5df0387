"""The graph from a manifest written by hand: models in order, what is unknown, names, and what a change reaches."""

import json

import pytest

from ml.lineage.columns import ROWS, Ref
from ml.lineage.features import Declared, Service, View, add_features, match_features
from ml.lineage.graph import WHOLE, Edge, Graph
from ml.lineage.impact import affected_names
from ml.lineage.models import add_exposures, add_models
from ml.lineage.tree import as_json, column_tree, dataset_tree

VIEW = View("feat_customer", "customer", "feat_customer", {"cents_28d": "Int64", "days_28d": "Int64"})
DECLARED = Declared([VIEW], [Service("shopper", "recommender", [("feat_customer", "cents_28d")])])


def model(name: str, sql: str | None, parents: list[str], folder: str = "marts", **columns: str) -> dict:
    return {
        "unique_id": f"model.shop.{name}",
        "resource_type": "model",
        "name": name,
        "alias": name,
        "schema": "built",
        "database": "scratch",
        "fqn": ["shop", folder, name],
        "columns": {column: {"data_type": type_} for column, type_ in columns.items()},
        "config": {"contract": {"enforced": folder == "marts"}},
        "compiled_code": sql,
        "parents": parents,
    }


def manifest(*models: dict, **exposures: list[str]) -> dict:
    columns = {name: {"data_type": "bigint"} for name in ("customer_id", "ordered_at", "_event_date", "cents", "spare")}
    source = {"schema": "raw", "name": "orders", "identifier": "orders", "resource_type": "source", "columns": columns}
    return {
        "nodes": {each["unique_id"]: each for each in models},
        "sources": {"source.shop.raw.orders": source},
        "parent_map": {each["unique_id"]: each["parents"] for each in models},
        "exposures": {
            name: {"name": name, "type": "ml", "depends_on": {"nodes": [f"model.shop.{each}" for each in reads]}}
            for name, reads in exposures.items()
        },
    }


STG = model(
    "stg_orders",
    'select customer_id, _event_date as day, cents from "scratch"."raw"."orders"',
    ["source.shop.raw.orders"],
    "staging",
)
FEAT = model(
    "feat_customer",
    """select customer_id, sum(cents) as cents_28d, count(distinct day) as days_28d
    from "scratch"."built"."stg_orders" group by customer_id""",
    ["model.shop.stg_orders"],
    customer_id="varchar",
    cents_28d="bigint",
    days_28d="bigint",
)


def graph_of(settings, tmp_path, *models: dict, **exposures: list[str]) -> Graph:
    graph = Graph()
    content = manifest(*models, **exposures)
    add_models(graph, content)
    add_features(graph, settings, DECLARED, tmp_path)
    add_exposures(graph, content, known={"model feat_customer"})
    return graph


@pytest.fixture
def graph(configure, tmp_path):
    return graph_of(configure(), tmp_path, FEAT, STG, recommender=["feat_customer"])


def test_a_change_reaches_the_features_and_models_below_it_and_no_others(graph):
    assert affected_names(graph, [Ref("raw.orders", "cents")]) == [
        "model stg_orders",
        "model feat_customer",
        "feature feat_customer.cents_28d",
        "model product recommender",
    ]
    assert affected_names(graph, [Ref("raw.orders", "spare")]) == []


def test_the_event_day_comes_from_the_event_time_though_no_sql_says_so(graph):
    assert "feature feat_customer.days_28d" in affected_names(graph, [Ref("raw.orders", "ordered_at")])


def test_what_decides_rows_reaches_every_feature_in_one_entry(graph):
    assert "feature feat_customer (all 2 features)" in affected_names(graph, [Ref("raw.orders", "customer_id")])


def test_a_feature_that_no_service_offers_reaches_no_model(graph):
    reached = graph.all_below([Ref("feature feat_customer", "days_28d")])
    assert Ref("model product recommender", WHOLE) not in reached
    assert Ref("model product recommender", WHOLE) in graph.all_below([Ref("feature feat_customer", "cents_28d")])


def test_a_model_whose_sql_cannot_be_read_is_unknown_and_so_is_what_comes_from_it(configure, tmp_path):
    for sql in ("select nonsense from nowhere.at_all where", None, "select * from nowhere.at_all"):
        broken = model("stg_orders", sql, ["source.shop.raw.orders"], "staging")
        graph = graph_of(configure(), tmp_path, FEAT, broken)
        assert graph.datasets["model stg_orders"].unknown
        names = affected_names(graph, [Ref("raw.orders", "spare")])
        assert names[0] == "model stg_orders (its lineage is unknown)"
        assert "model product recommender" in names
        printed = "\n".join(dataset_tree(graph, "model stg_orders"))
        assert "its lineage is unknown: " in printed
        assert "model stg_orders  [lineage unknown]" in "\n".join(dataset_tree(graph, "raw.orders"))


def test_an_incremental_model_that_reads_itself_comes_from_the_same_columns(configure, tmp_path):
    sql = """
        with kept as (select * from "scratch"."built"."feat_customer")
        select customer_id, sum(cents) as cents_28d, 1 as days_28d
        from "scratch"."built"."stg_orders" where day > (select max(days_28d) from kept) group by customer_id
    """
    graph = graph_of(configure(), tmp_path, STG, {**FEAT, "compiled_code": sql})
    assert graph.datasets["model feat_customer"].unknown is None
    assert graph.above(Ref("model feat_customer", "cents_28d")) == [Ref("model stg_orders", "cents")]
    assert Ref("model stg_orders", "day") in graph.above(Ref("model feat_customer", ROWS))
    assert not any(ref.dataset == "model feat_customer" for ref in graph.above(Ref("model feat_customer", ROWS)))


def test_an_exposure_reads_columns_that_are_not_known_unless_features_say_more(configure, tmp_path):
    other = model(
        "fct_orders", 'select cents from "scratch"."raw"."orders"', ["source.shop.raw.orders"], cents="bigint"
    )
    graph = graph_of(configure(), tmp_path, STG, FEAT, other, recommender=["fct_orders", "feat_customer"])
    product = Ref("model product recommender", WHOLE)
    assert graph.edge(Ref("model fct_orders", "cents"), product) is Edge.READS
    assert graph.edge(Ref("model feat_customer", "days_28d"), product) is None


def test_a_feature_without_a_column_in_its_mart_is_unknown(configure, tmp_path):
    graph = graph_of(
        configure(), tmp_path, STG, {**FEAT, "compiled_code": FEAT["compiled_code"].replace("cents_28d", "x")}
    )
    assert graph.datasets["feature feat_customer"].unknown == "model feat_customer has no cents_28d"


def test_pair_features_come_from_the_marts_and_not_from_who_is_asked_about(configure, tmp_path):
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "customer_product.sql").write_text(
        """select a.customer_id, f.cents_28d / 2 as half
        from asked a left join feat_customer f on f.customer_id = a.customer_id"""
    )
    graph = graph_of(configure(), tmp_path, STG, FEAT)
    assert list(graph.datasets["feature customer_product"].columns) == ["half"]
    assert Ref("model feat_customer", "cents_28d") in graph.above(
        Ref("feature customer_product", "half"), (Edge.DERIVES,)
    )
    (tmp_path / "pairs" / "customer_product.sql").write_text("select nothing from feat_customer")
    graph = graph_of(configure(), tmp_path, STG, FEAT)
    assert graph.datasets["feature customer_product"].unknown
    assert "feature customer_product (its lineage is unknown)" in affected_names(graph, [Ref("raw.orders", "cents")])


def test_a_models_feature_is_named_for_its_entity_or_is_computed_by_its_own_code():
    offered = [Ref("feature feat_customer", "cents_28d"), Ref("feature customer_product", "half")]
    assert match_features(["customer_cents_28d", "half", "rank"], DECLARED, offered) == (offered, ["rank"])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("orders", Ref("raw.orders", WHOLE)),
        ("raw.orders", Ref("raw.orders", WHOLE)),
        ("raw.orders.cents", Ref("raw.orders", "cents")),
        ("orders.cents", Ref("raw.orders", "cents")),
        ("feat_customer", Ref("model feat_customer", WHOLE)),
        ("feat_customer.cents_28d", Ref("model feat_customer", "cents_28d")),
        ("feature feat_customer.cents_28d", Ref("feature feat_customer", "cents_28d")),
        ("cents_28d", Ref("feature feat_customer", "cents_28d")),
        ("recommender", Ref("model product recommender", WHOLE)),
        ("shopper", Ref("feature service shopper", WHOLE)),
    ],
)
def test_a_name_is_found(graph, name, found):
    assert graph.find(name) == [found]


def test_a_name_that_fits_several_or_none(graph):
    assert graph.find("cents") == [Ref("raw.orders", "cents"), Ref("model stg_orders", "cents")]
    assert graph.find("stg_orders.nothing") == graph.find("nothing") == []
    assert graph.near("feat_customer.cents_28")[0] == "feat_customer.cents_28d"
    assert graph.near("zzz") == []


def test_the_tree_goes_both_ways(graph):
    printed = column_tree(graph, Ref("model feat_customer", "cents_28d"))
    assert printed == [
        "model feat_customer.cents_28d  (column of a mart, bigint)",
        "",
        "made from",
        "  model stg_orders.cents",
        "    raw.orders.cents",
        "",
        "its rows and conditions are decided by",
        "  raw.orders: customer_id",
        "",
        "goes into",
        "  feature feat_customer.cents_28d",
        "    feature service shopper",
        "    model product recommender",
    ]
    assert "rows of raw.orders  [depends]" in "\n".join(
        column_tree(graph, Ref("model feat_customer", "cents_28d"), rows=True)
    )


def test_json_names_what_is_above_and_below(graph):
    found = json.loads(json.dumps(as_json(graph, [Ref("model stg_orders", "day")])))
    assert {"dataset": "raw.orders", "column": "ordered_at"} in found["upstream"]
    assert {"dataset": "feature feat_customer", "column": "days_28d"} in found["downstream"]
    assert {"dataset": "model feat_customer", "column": "cents_28d"} not in found["downstream"]
    edge = {
        "from": {"dataset": "raw.orders", "column": "_event_date"},
        "to": {"dataset": "model stg_orders", "column": "day"},
        "edge": "derives",
    }
    assert edge in found["edges"]
