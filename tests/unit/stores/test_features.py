from collections.abc import Callable
from datetime import date, datetime, timedelta

import pandas as pd
import pytest

from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores import features
from ml.stores.feast_repo import apply_if_changed, features_dir
from ml.stores.features import feature_fingerprints, historical_features, product_snapshot
from ml.stores.warehouse import Marts
from tests.feature_marts import mart_rows, mart_schema, publish_feature_marts

MONDAYS = [date(2017, 11, 6), date(2017, 11, 13), date(2017, 11, 20)]
CURRENT = date(2017, 11, 22)  # a Wednesday: the day after the newest built one


@pytest.fixture
def settings(configure: Callable[..., Settings]) -> Settings:
    chosen = configure()
    apply_if_changed(chosen)
    return chosen


@pytest.fixture
def marts(settings: Settings) -> Marts:
    customers = [
        ("steady", MONDAYS[0], 1),
        ("steady", MONDAYS[1], 2),
        ("steady", MONDAYS[2], 3),
        ("steady", CURRENT, 4),
        ("lapsed", MONDAYS[0], 5),
        ("new", CURRENT, 6),
        ("unmeasured", MONDAYS[1], None),
    ]
    products = [("milk", MONDAYS[1], 10), ("milk", CURRENT, 11), ("bread", MONDAYS[2], 12), ("cheese", MONDAYS[0], 13)]
    tables = {
        "feat_customer": mart_rows(settings, "feat_customer", customers),
        "feat_product": mart_rows(settings, "feat_product", products),
    }
    return publish_feature_marts(settings, CURRENT - timedelta(days=1), tables)


def _asked(settings: Settings, pairs: list[tuple[str, date]]) -> pd.DataFrame:
    moments = [settings.day_start(day) for _, day in pairs]
    return pd.DataFrame({"customer_id": [customer for customer, _ in pairs], "event_timestamp": moments})


def test_values_are_those_of_the_newest_row_at_the_moment_and_none_is_older_than_the_ttl(
    settings: Settings, marts: Marts
) -> None:
    asked = [
        ("steady", MONDAYS[1], 2.0),
        ("steady", MONDAYS[1] - timedelta(days=1), 1.0),  # Sunday: Monday's row is the future
        ("steady", MONDAYS[0] - timedelta(days=1), None),
        ("steady", CURRENT, 4.0),
        ("lapsed", MONDAYS[1], 5.0),  # seven days old
        ("lapsed", MONDAYS[1] + timedelta(days=1), 5.0),  # eight: the last day on which it counts
        ("lapsed", MONDAYS[1] + timedelta(days=2), None),
        ("new", MONDAYS[2], None),
        ("unmeasured", MONDAYS[1], None),
        ("stranger", CURRENT, None),
    ]
    rows = _asked(settings, [(customer, day) for customer, day, _ in asked])
    found = historical_features(settings, rows, "recommender_customer", marts)
    expected = pd.Series([value for _, _, value in asked], dtype="float64")
    pd.testing.assert_series_equal(found["amount_cents_28d"], expected, check_names=False)
    pd.testing.assert_series_equal(found["repeat_share_91d"], expected, check_names=False)
    assert found["home_store_id"].tolist() == [None if value is None else f"s{value:g}" for _, _, value in asked]
    pd.testing.assert_frame_equal(found[rows.columns.tolist()], rows)


def test_feast_gives_what_an_asof_join_gives(settings: Settings, marts: Marts) -> None:
    days = [MONDAYS[0] + timedelta(days=offset) for offset in range(-1, 18)]
    rows = _asked(settings, [(customer, day) for customer in ("steady", "lapsed", "new", "unmeasured") for day in days])
    found = historical_features(settings, rows, "recommender_customer", marts)
    with marts.connect() as database:
        database.register("asked", rows)
        expected = database.sql(
            """
            select case when asked.event_timestamp <= feat.feature_at + interval 8 days then feat.amount_cents_28d end
            from (select *, row_number() over () as position from asked) as asked
            asof left join feat_customer as feat
                on asked.customer_id = feat.customer_id and asked.event_timestamp >= feat.feature_at
            order by asked.position
            """
        ).fetchall()
    assert [None if pd.isna(value) else value for value in found["amount_cents_28d"]] == [
        value for (value,) in expected
    ]
    assert found["amount_cents_28d"].notna().sum() == 29  # steady 18 of 19 days, lapsed 9, new 2


def test_rows_keep_their_order_index_and_other_columns(settings: Settings, marts: Marts) -> None:
    rows = _asked(settings, [("steady", CURRENT), ("stranger", MONDAYS[2]), ("steady", MONDAYS[0])])
    rows = rows.assign(label=[1, 0, 1]).set_axis([7, 3, 5])
    found = historical_features(settings, rows, "recommender_customer", marts)
    assert found.index.tolist() == [7, 3, 5]
    assert found["label"].tolist() == [1, 0, 1]
    assert found["count_orders_7d"].tolist()[::2] == [4.0, 1.0]


def test_no_rows_are_answered_with_all_columns(settings: Settings, marts: Marts) -> None:
    none = pd.DataFrame(
        {"customer_id": pd.Series(dtype=object), "event_timestamp": pd.Series(dtype="datetime64[us, UTC]")}
    )
    found = historical_features(settings, none, "recommender_customer", marts)
    assert len(found) == 0
    assert [*found.columns] == ["customer_id", "event_timestamp", *mart_schema("feat_customer").names[3:]]


def test_a_pair_asked_twice_is_a_mistake_of_the_caller(settings: Settings, marts: Marts) -> None:
    rows = _asked(settings, [("steady", CURRENT), ("steady", CURRENT)])
    with pytest.raises(ValueError, match="names 1 pairs of customer_id and event_timestamp twice"):
        historical_features(settings, rows, "recommender_customer", marts)


def test_an_unknown_service_is_named_with_those_that_exist(settings: Settings, marts: Marts) -> None:
    with pytest.raises(DataFailed, match=r"no feature service fraud.*recommender_customer, recommender_product"):
        historical_features(settings, _asked(settings, [("steady", CURRENT)]), "fraud", marts)


def test_a_part_whose_bytes_changed_is_refused_before_feast_reads_it(settings: Settings, marts: Marts) -> None:
    (part,) = [part for part in marts.version.parts_of("feat_customer") if part.partition == CURRENT.isoformat()]
    file = marts.store.path_of(part)
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 1
    file.write_bytes(body)
    with pytest.raises(DataFailed, match="do not match the manifest's sha256"):
        historical_features(settings, _asked(settings, [("steady", CURRENT)]), "recommender_customer", marts)


def test_the_product_snapshot_holds_each_product_with_a_current_value(settings: Settings, marts: Marts) -> None:
    snapshot = product_snapshot(settings, marts)
    assert snapshot.index.tolist() == ["bread", "milk"]  # the last row of cheese is 16 days old
    assert snapshot["count_customers_28d"].to_dict() == {"bread": 12.0, "milk": 11.0}


def test_what_is_linked_for_feast_is_gone_afterwards(settings: Settings, marts: Marts) -> None:
    historical_features(settings, _asked(settings, [("steady", CURRENT)]), "recommender_customer", marts)
    assert list(features_dir(settings).glob(".offline-*")) == []


@pytest.mark.parametrize(
    ("edited", "same"),
    [
        ("select  a -- why\n  from b", True),
        ("/* two\nlines */ select a from b", True),
        ("select a from b where true", False),
        ("select A from b", False),
    ],
)
def test_a_fingerprint_sees_what_the_pair_sql_computes_and_not_how_it_is_laid_out(
    settings: Settings, marts: Marts, monkeypatch: pytest.MonkeyPatch, edited: str, same: bool
) -> None:
    def fingerprint(sql: str) -> str:
        monkeypatch.setattr(features, "pair_sql", lambda: sql)
        found = feature_fingerprints(settings, marts)
        assert sorted(found) == ["customer_product", "feat_customer", "feat_product"]
        assert found["feat_customer"] == "feat_customer-as-built"
        return found["customer_product"]

    assert (fingerprint("select a from b") == fingerprint(edited)) is same


def test_moments_are_compared_in_utc_whatever_zone_they_are_given_in(settings: Settings, marts: Marts) -> None:
    local = datetime(2017, 11, 13, tzinfo=settings.zone)
    rows = pd.DataFrame({"customer_id": ["steady"], "event_timestamp": [local]})
    assert historical_features(settings, rows, "recommender_customer", marts)["count_orders_7d"].tolist() == [2.0]


def test_marts_of_another_shop_have_no_fingerprints_here(
    settings: Settings, marts: Marts, configure: Callable[..., Settings]
) -> None:
    with pytest.raises(DataFailed, match="belong to another shop than bookshop"):
        feature_fingerprints(configure(shop_id="bookshop"), marts)
