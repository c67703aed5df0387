"""The assets that chain the stages. Each event carries the shop day as its partition key."""

from airflow.sdk import Asset

RAW = Asset("raw", uri="shopwright://raw")
MARTS = Asset("marts", uri="shopwright://marts")
FEATURES = Asset("features", uri="shopwright://features")
RECOMMENDATIONS = Asset("recommendations", uri="shopwright://recommendations")
