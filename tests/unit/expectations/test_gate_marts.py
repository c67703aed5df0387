"""Staged marts against their suites."""

from datetime import date

import pyarrow as pa
import pytest

from expectations.marts import judge_staged
from expectations.suites.marts import MART_SUITES
from expectations.verdicts import Status
from ml.settings import Settings
from ml.stores.versions import Version, VersionStore
from ml.stores.warehouse import Marts

DAY = date(2024, 1, 5)
AS_OF = date(2024, 1, 6)
GOOD = {
    "dim_customers": {"customer_id": ["c1"]},
    "dim_customers_history": {"customer_id": ["c1"], "is_current": [True]},
    "dim_products": {"product_id": ["p1"]},
    "dim_products_history": {"product_id": ["p1"], "is_current": [True]},
    "fct_orders": {"order_id": ["o1"], "order_date": [DAY], "amount_cents": [100]},
    "fct_order_lines": {"order_line_id": ["l1"], "order_date": [DAY], "amount_cents": [100]},
    "audit_demographics": {"customer_id": pa.array([], pa.string())},
    "feat_customer": {"customer_id": ["c1"], "as_of_date": [AS_OF], "repeat_share_91d": [0.5]},
    "feat_product": {"product_id": ["p1"], "as_of_date": [AS_OF], "count_orders_7d": [1]},
    "fct_order_payments": {"order_id": pa.array([], pa.string())},
    "feat_order_risk": {"order_id": pa.array([], pa.string()), "fraud_rate_shop_ever": pa.array([], pa.float64())},
    "fct_fraud_labels": {"label_id": pa.array([], pa.string())},
    "fct_fraud_decisions": {"order_id": pa.array([], pa.string())},
    "fct_exposures": {"exposure_id": pa.array([], pa.string())},
    "fct_row_conservation": {
        "table_name": ["orders"],
        "batch_id": ["b"],
        "rows_in": [4],
        "rows_published": [1],
        "rows_quarantined": [2],
        "rows_collapsed": [1],
    },
}


@pytest.fixture
def settings(tmp_path):
    return Settings(_env_file=None, state_dir=tmp_path, shop_id="tiny")


def marts_of(settings, target_day=DAY, **changed):
    store = VersionStore(settings.shop_dir / "warehouse" / "marts")
    tables = {name: changed.get(name, columns) for name, columns in GOOD.items() if changed.get(name, 0) is not None}
    parts = tuple(store.write_part(name, "all", pa.table(columns)) for name, columns in tables.items())
    return Marts(store, Version("staged", 0, None, parts, {"target_day": target_day.isoformat()}))


def judged(settings, published=None, **changed):
    return {
        verdict.object: verdict for verdict in judge_staged(settings, DAY, marts_of(settings, **changed), published)
    }


def failures(settings, published=None, **changed):
    """(mart, rule, observed) of what failed."""
    verdicts = judged(settings, published, **changed).values()
    return [(verdict.object, rule.rule, rule.observed) for verdict in verdicts for rule in verdict.bad_rules]


def test_every_mart_has_a_suite():
    assert set(MART_SUITES) == set(GOOD)


def test_good_marts_pass(settings):
    verdicts = judged(settings)
    assert {verdict.status for verdict in verdicts.values()} == {Status.PASSED}
    assert verdicts["fct_orders"].rows_published == 1


def test_the_same_content_is_the_same_verdict_and_other_content_another(settings):
    one, same = (judged(settings)["fct_orders"].batch_id for _ in range(2))
    other = judged(settings, fct_orders=GOOD["fct_orders"] | {"amount_cents": [101]})["fct_orders"].batch_id
    assert one == same != other


@pytest.mark.parametrize(
    ("mart", "columns", "rule", "observed"),
    [
        ("fct_orders", {"order_date": [date(2024, 1, 4)]}, "freshness", "2024-01-04"),
        ("fct_orders", {"order_date": [date(2024, 1, 6)]}, "freshness", "2024-01-06"),
        ("feat_customer", {"as_of_date": [DAY]}, "freshness", "2024-01-05"),
        ("feat_customer", {"repeat_share_91d": [float("nan")]}, "finite", "repeat_share_91d"),
        ("feat_customer", {"repeat_share_91d": [float("inf")]}, "finite", "repeat_share_91d"),
        ("feat_customer", {"repeat_share_91d": [1.5]}, "not_too_large", "repeat_share_91d"),
        ("feat_customer", {"repeat_share_91d": [-0.1]}, "not_too_small", "repeat_share_91d"),
        ("feat_product", {"count_orders_7d": [-1]}, "not_too_small", "count_orders_7d"),
        ("fct_orders", {"amount_cents": [-1]}, "not_too_small", "amount_cents"),
        ("fct_row_conservation", {"rows_in": [5]}, "rows_conserved", "orders b"),
    ],
)
def test_a_bad_mart_fails_by_its_rule(settings, mart, columns, rule, observed):
    assert failures(settings, **{mart: GOOD[mart] | columns}) == [(mart, rule, observed)]


@pytest.mark.parametrize(
    "mart", ["dim_customers", "dim_products", "fct_orders", "feat_product", "fct_row_conservation"]
)
def test_a_mart_without_rows_fails(settings, mart):
    empty = pa.table(GOOD[mart]).slice(0, 0).to_pydict()
    columns = {name: pa.array(values, pa.table(GOOD[mart]).schema.field(name).type) for name, values in empty.items()}
    found = failures(settings, **{mart: columns})
    assert (mart, "row_count", "0") in found
    assert {name for name, _, _ in found} == {mart}


def test_a_mart_that_is_not_there_fails(settings):
    assert failures(settings, feat_product=None) == [("feat_product", "built", "no such mart in the build")]


def test_the_newest_day_may_be_the_last_open_one(settings):
    christmas = date(2024, 12, 25)
    changed = {
        "fct_orders": GOOD["fct_orders"] | {"order_date": [date(2024, 12, 24)]},
        "fct_order_lines": GOOD["fct_order_lines"] | {"order_date": [date(2024, 12, 24)]},
        "feat_customer": GOOD["feat_customer"] | {"as_of_date": [date(2024, 12, 26)]},
        "feat_product": GOOD["feat_product"] | {"as_of_date": [date(2024, 12, 26)]},
    }
    assert failures(settings, target_day=christmas, **changed) == []


def test_a_column_that_turned_empty_fails_against_what_is_published(settings):
    def products(*counts):
        return {
            "product_id": [f"p{number}" for number in range(20)],
            "as_of_date": [AS_OF] * 20,
            "count_orders_7d": pa.array([*counts, *[None] * (20 - len(counts))], pa.int64()),
        }

    published = marts_of(settings, feat_product=products(*range(16)))  # 20% nulls; 60% are the most that pass
    assert failures(settings, published, feat_product=products(*range(8))) == []
    found = failures(settings, published, feat_product=products(*range(7)))
    assert found == [("feat_product", "null_share", "count_orders_7d")]
    assert failures(settings, None, feat_product=products()) == [], "the first version has nothing to compare with"
