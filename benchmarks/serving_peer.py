"""The way most people would build it: FastAPI, Feast's `get_online_features`, `mlflow.pyfunc`; nothing of the product.

It gets less to do than the product: candidates are given to it, features that the product computes in the request lie
ready in Feast, and there are no reasons, rules, policies, consents, checks or log. Feast reads Redis, its faster store;
the model is the very same trees. Models and features come from the benchmark's shop:

    python serving_peer.py build FOLDER REDIS_PORT     in the shop's environment
    python serving_peer.py serve FOLDER PORT REDIS_PORT
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

ENTITIES = ("customer", "instrument", "device", "ip", "shipping_address", "terminal", "ip_country", "email_domain")
CUSTOMERS, ORDERS = 60, 300
_SCORED_ROWS = 2000


def feature_store(folder: Path, redis_port: int) -> Any:
    """Feast on a registry of its own and the second database of the benchmark's Redis."""
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    return FeatureStore(
        config=RepoConfig(
            project="peer",
            provider="local",
            registry={"registry_type": "file", "path": str(folder / "registry.db"), "cache_ttl_seconds": 0},
            offline_store={"type": "file"},
            online_store={"type": "redis", "connection_string": f"127.0.0.1:{redis_port},db=1"},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )


def build(folder: Path, redis_port: int) -> None:
    """Fill Feast and save the models, with what the product's champions are fed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = _candidate_rows()
    orders, inputs = _order_rows()
    store = feature_store(folder, redis_port)
    _declare(store, folder, inputs)
    _fill_recommendations(store, rows)
    _fill_fraud(store, orders, inputs)
    _save_model(folder / "recommender", "recommender", rows)
    _save_model(folder / "fraud", "fraud", orders)
    by_customer = rows.groupby("customer_id", sort=False)["product_id"].apply(list).to_dict()
    (folder / "candidates.json").write_text(json.dumps(by_customer))
    keys = [_join_key(name) for name in ENTITIES]
    own = [name for name, entity in inputs.items() if entity is None]
    known = orders[[*keys, *own]].astype(object).where(orders[[*keys, *own]].notna(), None)
    (folder / "orders.json").write_text(json.dumps(known.to_dict("records")))
    (folder / "inputs.json").write_text(json.dumps(inputs))


def _candidate_rows() -> Any:
    """customer_id, product_id and the ranker's features, 300 candidates of each customer."""
    from dataclasses import replace

    from serving_shop import CANDIDATES

    from ml.cli.recommender.inputs import FeastFeed, configuration
    from ml.recommender.candidates import propose
    from ml.recommender.dataset import read_history
    from ml.recommender.features import FEATURES, add_features
    from ml.settings import get_settings
    from ml.stores.warehouse import open_marts

    settings = get_settings()
    marts, config = open_marts(settings), configuration(settings)
    wider = replace(config, candidates=replace(config.candidates, own_purchases=CANDIDATES))
    history = read_history(marts.connect(), marts.as_of_date, config.history)
    customers = sorted(history.customers)
    pairs = propose(history, customers[:: max(1, len(customers) // CUSTOMERS)][:CUSTOMERS], wider)
    pairs = pairs.groupby("customer_id", sort=False).head(CANDIDATES)
    rows = add_features(history, pairs, FeastFeed(settings, marts)(history, pairs))
    return rows[["customer_id", "product_id", *FEATURES]]


def _order_rows() -> tuple[Any, dict[str, str | None]]:
    """Orders with the model's inputs, and which entity each input is kept by; None for what the request tells."""
    from ml.cli.fraud.inputs import read_orders
    from ml.fraud.feature_names import named
    from ml.fraud.features import ORDER_FEATURES, with_derived
    from ml.serving.fraud_parts import scorer_of
    from ml.settings import get_settings
    from ml.stores import registry
    from ml.stores.warehouse import open_marts

    settings = get_settings()
    marts = open_marts(settings)
    bundle = registry.load_champion(settings, "fraud")
    assert bundle is not None
    scorer = scorer_of(bundle)
    orders = with_derived(read_orders(marts.connect(), marts.target_day, marts.target_day).tail(ORDERS))
    inputs: dict[str, str | None] = {}
    for name in scorer.features:
        entity = named(name).entity
        inputs[name] = entity if entity in ENTITIES else None if name in ORDER_FEATURES else "customer"
    orders = orders.rename(columns={f"{name}_hash": f"{name}_id" for name in ENTITIES})
    orders = orders.rename(columns={name: f"{name}_id" for name in ("ip_country", "email_domain")})
    for name in ENTITIES:
        orders[_join_key(name)] = orders[_join_key(name)].astype(object).where(orders[_join_key(name)].notna(), "none")
    return orders, inputs


def _join_key(entity: str) -> str:
    return f"{entity}_id"


def _declare(store: Any, folder: Path, inputs: dict[str, str | None]) -> None:
    from datetime import timedelta

    from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
    from feast.types import Float32, String

    from ml.recommender.candidates import CANDIDATE_FEATURES
    from ml.recommender.features import CUSTOMER_FEATURES, PAIR_FEATURES, PRODUCT_FEATURES

    entities = {
        name: Entity(name=name, join_keys=[_join_key(name)], value_type=ValueType.STRING)
        for name in (*ENTITIES, "product")
    }

    def view(name: str, keys: list[str], features: list[str]) -> Any:
        schema = [Field(name=_join_key(key), dtype=String) for key in keys]
        schema += [Field(name=feature, dtype=Float32) for feature in features]
        source = FileSource(name=name, path=str(folder / f"{name}.parquet"), timestamp_field="event_timestamp")
        return FeatureView(
            name=name, entities=[entities[key] for key in keys], ttl=timedelta(days=3650), schema=schema, source=source
        )

    recommending = [
        view("customers", ["customer"], list(CUSTOMER_FEATURES)),
        view("products", ["product"], list(PRODUCT_FEATURES)),
        view("pairs", ["customer", "product"], [*CANDIDATE_FEATURES, *PAIR_FEATURES]),
    ]
    of_entity = {name: [one for one, entity in inputs.items() if entity == name] for name in ENTITIES}
    deciding = [view(f"fraud_{name}", [name], features) for name, features in of_entity.items() if features]
    services = [
        FeatureService(name="recommendations", features=recommending),
        FeatureService(name="decisions", features=deciding),
    ]
    store.apply([*entities.values(), *recommending, *deciding, *services])


def _fill_recommendations(store: Any, rows: Any) -> None:
    for name, keys in (
        ("customers", ["customer_id"]),
        ("products", ["product_id"]),
        ("pairs", ["customer_id", "product_id"]),
    ):
        _write(store, name, rows.drop_duplicates(keys, keep="last"))


def _fill_fraud(store: Any, orders: Any, inputs: dict[str, str | None]) -> None:
    for name in ENTITIES:
        if name in inputs.values():
            _write(store, f"fraud_{name}", orders.drop_duplicates(_join_key(name), keep="last"))


def _write(store: Any, view: str, rows: Any) -> None:
    import pandas as pd

    declared = store.get_feature_view(view)
    columns = [*declared.join_keys, *(field.name for field in declared.features)]
    store.write_to_online_store(view, rows[columns].assign(event_timestamp=pd.Timestamp.now("UTC")))


def _save_model(path: Path, product: str, rows: Any) -> None:
    import mlflow.xgboost
    import numpy as np
    from mlflow.models import infer_signature

    from ml.settings import get_settings
    from ml.stores import registry
    from ml.stores.bundles import load_booster

    bundle = registry.load_champion(get_settings(), product)
    assert bundle is not None
    features = _features_of(bundle)
    sample = rows[features].astype(np.float64).head(_SCORED_ROWS)
    signature = infer_signature(sample, np.zeros(len(sample), np.float32))
    booster = load_booster(bundle)
    booster.feature_names = features
    mlflow.xgboost.save_model(booster, str(path), signature=signature, pip_requirements=["xgboost"])


def _features_of(bundle: Any) -> list[str]:
    if bundle.product == "recommender":
        return list(bundle.manifest["features"])
    return list(json.loads(bundle.contents["scoring.json"])["features"])


def application(folder: Path, redis_port: int) -> Any:
    """The service."""
    import mlflow.pyfunc
    from fastapi import FastAPI, HTTPException
    from pydantic import BaseModel

    store = feature_store(folder, redis_port)
    ranker, fraud = (mlflow.pyfunc.load_model(str(folder / name)) for name in ("recommender", "fraud"))
    candidates: dict[str, list[str]] = json.loads((folder / "candidates.json").read_bytes())
    inputs: dict[str, str | None] = json.loads((folder / "inputs.json").read_bytes())
    services = {name: store.get_feature_service(name) for name in ("recommendations", "decisions")}
    columns = {
        "recommendations": ranker.metadata.get_input_schema().input_names(),
        "decisions": fraud.metadata.get_input_schema().input_names(),
    }
    app = FastAPI()

    class Order(BaseModel):
        entities: dict[str, str]
        own: dict[str, float | None]

    # async: the one thread of the loop answers one request after the other; its threads would fight for the one core.
    @app.get("/recommendations/{customer_id}")
    async def recommend(customer_id: str, k: int = 10) -> dict[str, Any]:
        products = candidates.get(customer_id)
        if products is None:
            raise HTTPException(404)
        asked = [{"customer_id": customer_id, "product_id": product} for product in products]
        features = store.get_online_features(features=services["recommendations"], entity_rows=asked).to_df()
        rows = features[columns["recommendations"]].astype("float64")
        scores = ranker.predict(rows)
        best = sorted(zip(scores, products, strict=True), reverse=True)[:k]
        return {"items": [{"product_id": product, "score": float(score)} for score, product in best]}

    @app.post("/decisions")
    async def decide(order: Order) -> dict[str, Any]:
        found = store.get_online_features(features=services["decisions"], entity_rows=[order.entities]).to_df()
        for name, value in order.own.items():
            found[name] = value
        probability = float(fraud.predict(found[columns["decisions"]].astype("float64"))[0])
        return {"probability": probability, "action": "decline" if probability > 0.5 else "approve"}

    assert inputs
    return app


def requests_of(folder: Path) -> dict[str, list[str]]:
    """Raw requests for the load generator, by product."""
    candidates = json.loads((folder / "candidates.json").read_bytes())
    inputs = json.loads((folder / "inputs.json").read_bytes())
    own = [name for name, entity in inputs.items() if entity is None]
    recommending = [f"GET /recommendations/{customer}?k=10 HTTP/1.1\r\nHost: peer\r\n\r\n" for customer in candidates]
    deciding = []
    for order in json.loads((folder / "orders.json").read_bytes()):
        entities = {_join_key(name): order[_join_key(name)] for name in ENTITIES}
        body = json.dumps({"entities": entities, "own": {name: order[name] for name in own}})
        head = (
            f"POST /decisions HTTP/1.1\r\nHost: peer\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        deciding.append(f"{head}\r\n\r\n{body}")
    return {"recommendations": recommending, "decisions": deciding}


def serve(folder: Path, port: int, redis_port: int) -> None:
    import uvicorn

    app = application(folder, redis_port)
    uvicorn.run(
        app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )


if __name__ == "__main__":
    _, _verb, _folder, *_ports = sys.argv
    if _verb == "build":
        build(Path(_folder), int(_ports[0]))
    else:
        serve(Path(_folder), int(_ports[0]), int(_ports[1]))
