"""Groups of orders that decisions are judged by. They are joined after the decision and are never an input of one."""

import numpy as np
import pandas as pd

from ml.fairness.audit import NOT_GIVEN


def order_groups(orders: pd.DataFrame, demographics: pd.DataFrame, new_for_days: int = 90) -> pd.DataFrame:
    """The audited groups of orders: what customers told of themselves, their region, and how new they were.

    Args:
        orders: order_id, customer_id, attempted_at; where known account_created_at, and ip_country or store_id.
        demographics: customer_id and attributes, one row per customer who told; may be empty.
        new_for_days: How long an account counts as new. Without accounts, a customer is new from the first order on.

    Returns:
        One row per order as given: order_id, the attributes that anybody told, has_demographics, region (where most of
        the customer's orders come from), account_age. An attribute that puts all orders in one group is left out.
    """
    told = [name for name in demographics.columns if name != "customer_id" and demographics[name].notna().any()]
    known = orders[["order_id", "customer_id"]].merge(
        demographics[["customer_id", *told]].assign(has_demographics="yes")
        if len(demographics)
        else pd.DataFrame({"customer_id": pd.Series(dtype="object"), "has_demographics": pd.Series(dtype="object")}),
        on="customer_id",
        how="left",
        validate="many_to_one",
    )
    columns: dict[str, pd.Series] = {
        name: known[name].astype("object").where(known[name].notna(), NOT_GIVEN).astype(str) for name in told
    }
    columns["has_demographics"] = known["has_demographics"].fillna("no").astype(str)
    columns["region"] = _home_region(orders)
    columns["account_age"] = _account_age(orders, new_for_days)
    varied = {name: column.to_numpy() for name, column in columns.items() if column.nunique() > 1}
    return pd.DataFrame({"order_id": orders["order_id"].to_numpy(), **varied})


def _home_region(orders: pd.DataFrame) -> pd.Series:
    """Where most of a customer's orders come from; ties go to the first in the alphabet."""
    nowhere = pd.Series(NOT_GIVEN, index=orders.index)
    for name in ("ip_country", "store_id"):
        if name not in orders.columns or not orders[name].notna().any():
            continue
        counted = (
            orders.dropna(subset=["customer_id", name]).groupby(["customer_id", name]).size().reset_index(name="n")
        )
        ordered = counted.sort_values(["customer_id", "n", name], ascending=[True, False, True])
        home = ordered.drop_duplicates("customer_id").set_index("customer_id")[name].astype(str)
        return orders["customer_id"].map(home).fillna(NOT_GIVEN).astype(str)
    return nowhere


def _account_age(orders: pd.DataFrame, new_for_days: int) -> pd.Series:
    first = orders.groupby("customer_id", dropna=True)["attempted_at"].transform("min").reindex(orders.index)
    if "account_created_at" in orders.columns and orders["account_created_at"].notna().any():
        first = orders["account_created_at"]
    days = (orders["attempted_at"] - first).dt.total_seconds() / 86_400
    aged = pd.Series(np.where(days < new_for_days, "new", "old"), index=orders.index)
    return aged.where(days.notna(), NOT_GIVEN).astype(str)
