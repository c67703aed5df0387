"""One request: the customer's row ranked as the batch ranks it, or a list that stands in for it."""

import random

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from ml.outcomes import DataFailed
from ml.recommender.config import HistoryConfig, RankerConfig, RecommenderConfig
from ml.recommender.customer_row import decode_row, encode_rows
from ml.recommender.dataset import History, read_history
from ml.recommender.evaluate import open_cut
from ml.recommender.explain import REASON_NEW_CUSTOMER, REASON_POPULAR, REASON_POPULAR_IN_STORE
from ml.recommender.features import FEATURES, PRODUCT_FEATURES
from ml.recommender.online import Filters, Offer, RecommenderEngine, static_offer
from ml.recommender.published import catalogue, known_customers, snapshot, store_products
from ml.recommender.ranker import Ranker
from ml.recommender.train import fit, rows_of_cut
from tests.recommender_marts import Line, day, empty_feed, mart_views
from tests.recommender_snapshot import PRODUCTS
from tests.recommender_snapshot import snapshot as by_hand

CONFIG = RecommenderConfig(
    history=HistoryConfig(catalogue_min_purchases=1),
    ranker=RankerConfig(trees=20, depth=3, min_child_weight=0.0, threads=1, row_share=1.0, column_share=1.0),
)


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - tests draw the same every time


def _lines() -> list[Line]:
    draw = _chance(7)
    return [
        (f"c{customer}", f"p{draw.randint(0, 30):02}", offset)
        for customer in range(12)
        for offset in range(0, 28, draw.randint(2, 5))
        for _ in range(4)
    ]


@pytest.fixture(scope="module")
def history() -> History:
    return read_history(mart_views(_lines()), day(21), CONFIG.history)


@pytest.fixture(scope="module")
def booster() -> xgb.Booster:
    rows, _ = rows_of_cut(open_cut(mart_views(_lines()), day(14), CONFIG), empty_feed, CONFIG)
    return fit(rows, FEATURES, CONFIG.ranker, seed=1)


def _published(
    history: History, booster: xgb.Booster, share: float = 0.0
) -> tuple[RecommenderEngine, pd.DataFrame, dict[str, bytes]]:
    rows: dict[str, bytes] = {}
    products = []

    def keep(scored: pd.DataFrame) -> None:
        rows.update(encode_rows(scored, history.products))
        products.append(scored[["product_id", *PRODUCT_FEATURES]].drop_duplicates("product_id"))

    ranker = Ranker(booster, CONFIG, empty_feed, keep)
    lists = ranker.recommend(history, [*history.customers, "new"], day(21), 10)
    taken = snapshot(catalogue(history, {}, products[0]), store_products(history), known_customers(history), lists)
    return RecommenderEngine(taken, booster.copy(), share, _chance(3)), lists, rows


def _told(offer: Offer) -> list[tuple[str, str]]:
    return [(item.product_id, item.reason) for item in offer.items]


def test_a_request_ranks_as_the_batch_does(history: History, booster: xgb.Booster) -> None:
    engine, lists, rows = _published(history, booster)
    assert len(rows) == 12
    for customer, row in rows.items():
        of_customer = lists[lists["customer_id"] == customer]
        expected = list(zip(of_customer["product_id"], of_customer["reason"], strict=True))
        assert _told(engine.rank(customer, row, 10, Filters())) == expected
        assert _told(engine.batch(customer, 10, Filters())) == expected
    assert engine.knows("c1")
    assert not engine.knows("new")
    assert not engine.knows("never seen")


def test_what_is_excluded_is_not_shown_and_the_next_best_moves_up(history: History, booster: xgb.Booster) -> None:
    engine, _, rows = _published(history, booster)
    all_of_them = [product for product, _ in _told(engine.rank("c1", rows["c1"], 10, Filters()))]
    shown = _told(engine.rank("c1", rows["c1"], 9, Filters(exclude=[all_of_them[0], "no product"])))
    assert [product for product, _ in shown] == all_of_them[1:]


def test_an_explored_answer_has_products_reasons_and_propensities_of_its_own(
    history: History, booster: xgb.Booster
) -> None:
    engine, _, rows = _published(history, booster, share=0.5)
    offers = [engine.rank("c1", rows["c1"], 10, Filters()) for _ in range(40)]
    explored = [offer for offer in offers if offer.is_explored]
    assert 5 < len(explored) < 35
    pool = len(engine.snapshot.products)  # fewer than 50
    assert {item.propensity for offer in explored for item in offer.items} <= {0.5 / pool, 0.5 + 0.5 / pool}
    assert len({tuple(_told(offer)) for offer in explored}) > 1
    assert all(len({item.product_id for item in offer.items}) == 10 for offer in explored)


def test_rows_come_back_as_they_were_written(history: History, booster: xgb.Booster) -> None:
    engine, _, rows = _published(history, booster)
    row = decode_row(rows["c1"])
    assert np.all(np.diff(row.products) > 0)
    inputs = row.inputs(np.arange(len(row.products)), engine.snapshot.features)
    assert inputs.shape == (len(row.products), len(FEATURES))
    assert inputs.dtype == np.float32


def test_a_damaged_row_is_refused_whatever_bit_of_it(history: History, booster: xgb.Booster) -> None:
    engine, _, rows = _published(history, booster)
    draw, row = _chance(1), rows["c1"]
    for cut in (0, 3, 8, len(row) // 2, len(row) - 1):
        with pytest.raises(DataFailed, match="customer row"):
            engine.rank("c1", row[:cut], 10, Filters())
    for _ in range(60):
        at = draw.randrange(len(row))
        damaged = row[:at] + bytes([row[at] ^ (1 << draw.randrange(8))]) + row[at + 1 :]
        with pytest.raises(DataFailed, match="customer row"):
            engine.rank("c1", damaged, 10, Filters())


def test_an_infinite_feature_is_not_written() -> None:
    scored = pd.DataFrame({"customer_id": ["a"], "product_id": ["p1"], "source": ["popular"]})
    scored = scored.assign(**dict.fromkeys(FEATURES, np.float32(1.0))).assign(trip_share=np.float32(np.inf))
    with pytest.raises(DataFailed, match="not finite: trip_share"):
        list(encode_rows(scored, pd.Index(["p1"])))


def test_the_published_list_is_filtered_and_filled_up_from_the_store_then_the_shop() -> None:
    engine = RecommenderEngine(by_hand(), None)
    assert _told(engine.batch("ann", 4, Filters())) == [
        ("p1", "You bought it before"),
        ("p3", "You often buy this kind of product"),
        ("p5", "You bought it before"),
        ("p2", REASON_POPULAR_IN_STORE),
    ]
    food = Filters(exclude=["p1"], category="food")
    assert [product for product, _ in _told(engine.batch("ann", 10, food))] == ["p3", "p2", "p0"]
    assert _told(engine.batch("ann", 10, Filters(category="toys"))) == []


def test_popular_is_of_the_store_looked_at_first_and_of_the_customers_own_only_when_told() -> None:
    engine = RecommenderEngine(by_hand(), None)
    assert _told(engine.popular(2, Filters())) == [("p7", REASON_POPULAR), ("p6", REASON_POPULAR)]
    assert _told(engine.popular(2, Filters(), is_new=True))[0] == ("p7", REASON_NEW_CUSTOMER)
    assert _told(engine.popular(3, Filters(), "ann")) == [
        ("p2", REASON_POPULAR_IN_STORE),
        ("p0", REASON_POPULAR_IN_STORE),
        ("p7", REASON_POPULAR),
    ]
    assert engine.popular(1, Filters(store_id="s2"), "ann").items[0].product_id == "p4"
    assert (engine.store_of("ann", Filters()), engine.store_of(None, Filters(store_id="no store"))) == ("s1", None)
    everything = _told(engine.popular(50, Filters(exclude=PRODUCTS[4:])))
    assert [product for product, _ in everything] == ["p3", "p2", "p1", "p0"]


def test_the_static_list_keeps_the_shops_order_and_the_filters() -> None:
    engine = RecommenderEngine(by_hand(), None, explored_share=0.5)
    static = ("p5", "p1", "unknown", "p5")
    assert [item.product_id for item in engine.static(static, 5, Filters()).items] == ["p5", "p1", "unknown"]
    assert [item.product_id for item in engine.static(static, 5, Filters(category="food")).items] == ["p1"]
    assert [item.product_id for item in static_offer(static, 1, Filters(exclude=["p5"])).items] == ["p1"]


def test_a_baseline_ranks_no_rows() -> None:
    with pytest.raises(DataFailed, match="ranks no rows"):
        RecommenderEngine(by_hand(), None).rank("ann", b"", 10, Filters())
