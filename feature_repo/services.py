"""What a model may ask for, by name."""

from feast import FeatureService
from views.customer import feat_customer
from views.product import feat_product

recommender_customer = FeatureService(
    name="recommender_customer",
    features=[feat_customer],
    description="What the recommender knows of a customer, offline and online.",
    owner="recommender",
    tags={"model": "recommender"},
)

recommender_product = FeatureService(
    name="recommender_product",
    features=[feat_product],
    description="What the recommender knows of a product, offline and as a snapshot in memory.",
    owner="recommender",
    tags={"model": "recommender"},
)
