"""The group of each order, for a policy whose switch allows decisions to depend on it; for no other."""

import pandas as pd

from ml.fairness.groups import order_groups
from ml.fraud.policy import GROUP_COLUMN, Policy
from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores.warehouse import open_marts


def with_groups(settings: Settings, orders: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """The orders as they are while the policy's switch is off; else with the group that its factors are for.

    Groups are those that decisions are audited by.

    Raises:
        DataFailed: The shop has no such grouping.
    """
    if not policy.fairness.group_aware:
        return orders
    marts = open_marts(settings)
    connection = marts.connect()
    paid = connection.execute(
        "select order_id, customer_id, attempted_at, account_created_at, ip_country from fct_order_payments"
    ).df()
    demographics = pd.DataFrame({"customer_id": pd.Series(dtype=object)})
    if "audit_demographics" in marts.version.tables():
        demographics = connection.execute("select * from audit_demographics").df()
    groups = order_groups(paid, demographics)
    name = policy.fairness.grouping
    if name not in groups.columns:
        known = ", ".join(sorted(set(groups.columns) - {"order_id"})) or "none"
        raise DataFailed(f"policy {policy.version}: no grouping {name}; this shop has {known}")
    found = groups[["order_id", name]].rename(columns={name: GROUP_COLUMN})
    return orders.merge(found, on="order_id", how="left", validate="one_to_one").set_axis(orders.index)
