"""What customers are offered and shown, and what they make of it."""

from ml.shop.contract.columns import CUSTOMER_ID, identifier, moment, text
from ml.shop.contract.table import Column, ColumnType, Table, TableKind

PROMOTIONS = Table(
    "promotions",
    TableKind.EVENT,
    "One row per product, store and start of a promotion.",
    key=("product_id", "store_id", "starts_at"),
    event_time="starts_at",
    columns=(
        identifier("product_id", "The product promoted."),
        identifier("store_id", "The store where it is promoted."),
        moment("starts_at", "First moment of the promotion"),
        moment("ends_at", "First moment after the promotion"),
        text("display_location", "Where in the store the product is displayed; null for nowhere."),
        text("mailer_location", "Where in the mailer the product is shown; null for nowhere."),
    ),
)

CAMPAIGNS = Table(
    "campaigns",
    TableKind.ENTITY,
    "One row per marketing campaign.",
    key=("campaign_id",),
    columns=(
        identifier("campaign_id", "The campaign."),
        text("campaign_type", "The shop's own kind of campaign."),
        Column("starts_on", ColumnType.DATE, "First day, shop-local."),
        Column("ends_on", ColumnType.DATE, "Last day, shop-local.", nullable=True),
    ),
)

COUPONS = Table(
    "coupons",
    TableKind.ENTITY,
    "One row per coupon, campaign and product that it is valid for.",
    key=("coupon_id", "campaign_id", "product_id"),
    columns=(
        identifier("coupon_id", "The coupon."),
        identifier("campaign_id", "The campaign that issued it."),
        identifier("product_id", "A product that it is valid for."),
    ),
)

COUPON_REDEMPTIONS = Table(
    "coupon_redemptions",
    TableKind.EVENT,
    "One row per customer, coupon, campaign and moment of redemption.",
    key=("customer_id", "coupon_id", "campaign_id", "redeemed_at"),
    event_time="redeemed_at",
    columns=(
        CUSTOMER_ID,
        identifier("coupon_id", "The coupon."),
        identifier("campaign_id", "The campaign that issued it."),
        moment("redeemed_at", "When it was redeemed"),
    ),
)

INTERACTIONS = Table(
    "interactions",
    TableKind.EVENT,
    "One row per thing that a visitor did or was shown.",
    key=("interaction_id",),
    event_time="occurred_at",
    columns=(
        identifier("interaction_id", "The interaction."),
        CUSTOMER_ID,
        identifier("product_id", "The product."),
        moment("occurred_at", "When it happened"),
        Column(
            "interaction_type",
            ColumnType.STRING,
            "What happened.",
            allowed=("view", "click", "cart", "purchase", "impression"),
        ),
        identifier("exposure_id", "The exposure that it followed, where the shop knows.", nullable=True),
    ),
)

EXPOSURES = Table(
    "exposures",
    TableKind.EVENT,
    "One row per product that a customer was shown as recommended, by Shopwright (its log flows back) or by what "
    "ran before it.",
    key=("exposure_id", "rank"),
    event_time="shown_at",
    columns=(
        identifier("exposure_id", "The answer that was shown."),
        Column("rank", ColumnType.INT64, "Place of the product in it, from 1.", above=0),
        CUSTOMER_ID,
        identifier("product_id", "The product."),
        moment("shown_at", "When it was answered"),
        text("placement", "Where it was shown, in the shop's own words."),
        Column(
            "step",
            ColumnType.STRING,
            "Where the answer came from.",
            allowed=("personal", "batch", "segment", "popular", "static"),
        ),
        text("model_version", "The model that ranked."),
        text("policy_version", "The rule of exploration."),
        Column(
            "propensity",
            ColumnType.FLOAT64,
            "Chance, when it was shown, of this product at this place.",
            nullable=True,
            minimum=0,
        ),
        Column("is_explored", ColumnType.BOOL, "Whether the answer's products were drawn, to learn from them."),
    ),
)
