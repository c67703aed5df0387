"""Where offline values lie: the feature marts of a published version.

Paths are relative. Each reading opens the store on a folder that links the parts of one version, so that a version
published meanwhile is not mixed in, and the parts are verified before Feast sees them.
"""

from feast import FileSource

feat_customer = FileSource(
    name="feat_customer",
    path="feat_customer",
    timestamp_field="feature_at",
    description="Mart feat_customer. One row per customer and as-of day.",
    owner="warehouse",
)

feat_product = FileSource(
    name="feat_product",
    path="feat_product",
    timestamp_field="feature_at",
    description="Mart feat_product. One row per product and as-of day.",
    owner="warehouse",
)
