"""Lineage of one query, against sources written by hand."""

import pytest

from ml.lineage.columns import Ref, Relation, UnknownLineage, query_lineage, table_relation

TABLES = {"orders": ["id", "customer", "day", "cents"], "lines": ["order_id", "product", "cents", "deleted"]}


def read(sql: str) -> Relation:
    return query_lineage(sql, {"shop": TABLES}, lambda _, name: table_relation(name, TABLES.get(name)))


def texts(refs: frozenset[Ref]) -> set[str]:
    return {f"{ref.dataset}.{ref.column}" for ref in refs}


def derives(sql: str, column: str) -> set[str]:
    return texts(read(sql).column(column).derives)


def depends(sql: str, column: str) -> set[str]:
    return texts(read(sql).column(column).depends)


def test_a_column_is_followed_through_steps_stars_and_new_names():
    sql = """
        with source as (select * from shop.orders), renamed as (select *, cents as price from source),
        final as (select renamed.* exclude (day), price * 2 as double_price from renamed)
        select * from final
    """
    assert list(read(sql).columns) == ["id", "customer", "cents", "price", "double_price"]
    assert derives(sql, "double_price") == {"orders.cents"}
    assert texts(read(sql).rows) == {"orders.*"}


def test_a_filter_decides_rows_and_no_value():
    sql = "select product, cents from shop.lines where deleted is distinct from true"
    assert derives(sql, "cents") == {"lines.cents"}
    assert texts(read(sql).rows) == {"lines.*", "lines.deleted"}


def test_an_inner_join_decides_rows_and_a_left_join_only_its_own_columns():
    inner = "select o.day, l.product from shop.orders o inner join shop.lines l on l.order_id = o.id"
    assert texts(read(inner).rows) == {"orders.*", "lines.*", "lines.order_id", "orders.id"}
    left = inner.replace("inner", "left")
    assert texts(read(left).rows) == {"orders.*"}
    assert depends(left, "product") == {"lines.*", "lines.order_id", "orders.id"}
    assert depends(left, "day") == set()


@pytest.mark.parametrize("kind", ["semi", "anti"])
def test_a_table_that_is_only_looked_into_decides_rows(kind):
    sql = "select o.id from shop.orders o KIND join shop.lines l on l.order_id = o.id".replace("KIND", kind)
    assert texts(read(sql).rows) == {"orders.*", "orders.id", "lines.*", "lines.order_id"}


def test_a_group_counts_rows_and_sums_values():
    sql = """
        select customer, count(*) as orders, count(distinct day) as days, sum(cents) filter (day > 3) as late_cents
        from shop.orders group by customer having min(cents) > 0
    """
    assert derives(sql, "orders") == {"orders.*"}
    assert derives(sql, "days") == {"orders.day"}
    assert derives(sql, "late_cents") == {"orders.cents"}
    assert depends(sql, "late_cents") == {"orders.day"}
    assert texts(read(sql).rows) == {"orders.*", "orders.customer", "orders.cents"}


def test_a_window_picks_by_what_it_orders_and_is_divided_by():
    sql = """
        select lag(cents) over mine as before, row_number() over (partition by customer order by day) as number
        from shop.orders window mine as (partition by customer order by day)
    """
    assert derives(sql, "before") == {"orders.cents"}
    assert depends(sql, "before") == {"orders.customer", "orders.day"}
    assert derives(sql, "number") == {"orders.day"}
    assert depends(sql, "number") == {"orders.customer"}


def test_the_newest_row_of_a_key_depends_on_what_says_which_is_newest():
    sql = "select id, cents from shop.orders qualify row_number() over (partition by id order by day desc) = 1"
    assert derives(sql, "cents") == {"orders.cents"}
    assert texts(read(sql).rows) == {"orders.*", "orders.id", "orders.day"}


def test_a_condition_decides_which_value():
    sql = "select case when day > 3 then cents else customer end as x, if(day > 3, id, null) as y from shop.orders"
    assert derives(sql, "x") == {"orders.cents", "orders.customer"}
    assert depends(sql, "x") == {"orders.day"}
    assert (derives(sql, "y"), depends(sql, "y")) == ({"orders.id"}, {"orders.day"})


def test_a_union_is_made_from_both_sides_by_position():
    sql = "select id, cents as amount from shop.orders union all select product, cents from shop.lines"
    assert derives(sql, "amount") == {"orders.cents", "lines.cents"}
    assert derives(sql, "id") == {"orders.id", "lines.product"}
    assert texts(read(sql).rows) == {"orders.*", "lines.*"}
    assert texts(read(sql.replace("union all", "union")).rows) >= {"orders.cents", "lines.product"}


def test_series_and_unnested_lists_come_from_their_arguments():
    sql = """
        with days as (select unnest(generate_series(min(day), max(cents))) as each from shop.orders)
        select days.each - w.n as past from days cross join generate_series(1, 9) as w (n)
    """
    assert derives(sql, "past") == {"orders.day", "orders.cents"}
    sql = "select o.id, u.x from shop.orders o, unnest([o.day, o.cents]) as u (x)"
    assert derives(sql, "x") == {"orders.day", "orders.cents"}


def test_subqueries_are_read_where_they_stand():
    sql = """
        select (select max(cents) from shop.lines where lines.order_id = orders.id) as most
        from shop.orders where customer in (select product from shop.lines)
    """
    assert derives(sql, "most") == {"lines.cents"}
    assert depends(sql, "most") == {"lines.*", "lines.order_id", "orders.id"}
    assert texts(read(sql).rows) == {"orders.*", "orders.customer", "lines.*", "lines.product"}


def test_a_step_that_reads_itself_ends():
    sql = "with recursive n as (select cents from shop.orders union all select cents + 1 from n) select * from n"
    assert derives(sql, "cents") == {"orders.cents"}


def test_a_constant_comes_from_nothing_and_that_is_known():
    assert read("select 'x' as reason, id from shop.orders").column("reason").all == frozenset()


@pytest.mark.parametrize(
    "sql",
    [
        "select * from elsewhere.table_of_nobody",
        "select nothing from shop.orders",
        "select id from shop.orders where",
        "pivot shop.orders on customer using sum(cents)",
        "select id from shop.orders union by name select product as id from shop.lines",
        "select sum(cents) over nowhere from shop.orders",
        "insert into shop.orders values (1)",
    ],
)
def test_what_cannot_be_read_is_unknown_and_never_empty(sql):
    with pytest.raises(UnknownLineage, match=r"\w"):
        read(sql)


def test_a_table_that_nobody_declared_has_the_columns_that_are_taken_from_it():
    sql = """
        with asked as (select distinct customer from candidates), days as (select day from state.changed as c),
        final as (select o.id, c.weight from shop.orders o, asked, days, state.extra c
        where asked.customer = o.customer and days.day = o.day)
        select * from final
    """
    assert derives(sql, "weight") == {"extra.weight"}
    assert texts(read(sql).rows) >= {"candidates.customer", "changed.day", "orders.day"}


def test_a_filter_that_only_spares_work_decides_nothing():
    sql = "select id from shop.orders where sparing.is_affected(day) and cents > 0"
    found = query_lineage(sql, {"shop": TABLES}, lambda _, name: table_relation(name, TABLES[name]), neutral="sparing")
    assert texts(found.rows) == {"orders.*", "orders.cents"}
    assert texts(read(sql).rows) == {"orders.*", "orders.cents", "orders.day"}
