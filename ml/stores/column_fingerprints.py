"""What one feature is made of, as one hash: a new column beside it in the mart is no change of it.

All models that a mart is built from become the steps of one query; what of it the mart's key and the one column use
(see `ml.stores.used_columns`) is hashed, with the declared types. Filters, joins and groups always count: they decide
which rows there are, for every column alike.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ml.stores.fingerprints import upstream

_KEYS = ("as_of_date", "feature_at")
_DIALECT = "duckdb"


def known_or_new_fingerprints(
    manifest: Mapping[str, Any], marts: Mapping[str, str], lineage: Mapping[str, Any]
) -> dict[str, str]:
    """Fingerprints of all features; those of a mart that did not change are taken from the published version.

    Args:
        marts: Fingerprint of each feature mart of the build.
        lineage: That of the published version; empty before the first.
    """
    published, columns = lineage.get("fingerprints", {}), lineage.get("column_fingerprints", {})
    found: dict[str, str] = {}
    for mart, fingerprint in marts.items():
        known = {name: each for name, each in columns.items() if name.startswith(f"{mart}.")}
        is_known = bool(known) and published.get(mart) == fingerprint
        found |= known if is_known else column_fingerprints(manifest, mart)
    return found


def column_fingerprints(manifest: Mapping[str, Any], mart: str) -> dict[str, str]:
    """SHA-256 per feature of a mart.

    Args:
        manifest: dbt's manifest of a build (compiled SQL included).

    Returns:
        "<mart>.<column>" -> fingerprint; nothing when the SQL cannot be read: the mart as a whole then stands for its
        columns.
    """
    import sqlglot
    from sqlglot.errors import SqlglotError
    from sqlglot.optimizer.qualify import qualify

    from ml.stores.used_columns import UsedColumns

    unique_id, node = next((key, each) for key, each in manifest["nodes"].items() if each["name"] == mart)
    features = [name for name in node["columns"] if name not in _KEYS]
    keys = [name for name in _KEYS if name in node["columns"]]
    try:
        statement = sqlglot.parse_one(_one_query(manifest, unique_id), dialect=_DIALECT)
        schema = _raw_schema(manifest, unique_id)
        query = UsedColumns(
            qualify(statement, schema=schema, dialect=_DIALECT, quote_identifiers=False, validate_qualify_columns=True)
        )
    except (SqlglotError, RecursionError):
        return {}
    fingerprints = {}
    for name in features:
        used = query.text_of({*keys, features[0], name})
        described = {"sql": used, "name": name, "type": node["columns"][name].get("data_type")}
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
        fingerprints[f"{mart}.{name}"] = digest
    return fingerprints


def _one_query(manifest: Mapping[str, Any], mart: str) -> str:
    """The mart's columns, with every model that it is built from as a step."""
    steps = []
    for unique_id in _in_order(manifest, mart):
        model = manifest["nodes"][unique_id]
        sql = model["compiled_code"].replace(f'"{model["database"]}".', "")
        for other in manifest["nodes"].values():
            if other["resource_type"] == "model":
                sql = sql.replace(f'"{other["schema"]}"."{other["name"]}"', other["name"])
        steps.append(f"{model['name']} as (\n{sql}\n)")
    node = manifest["nodes"][mart]
    # All names are of our own models.
    return f"with {', '.join(steps)} select {', '.join(node['columns'])} from {node['name']}"  # noqa: S608


def _in_order(manifest: Mapping[str, Any], unique_id: str) -> list[str]:
    """The models that a model is built from and itself, each after those that it reads."""
    ordered: list[str] = []
    waiting = {each for each in upstream(manifest, unique_id) if each in manifest["nodes"]}
    while waiting:
        ready = sorted(each for each in waiting if not waiting & set(manifest["parent_map"][each]))
        ordered += ready
        waiting -= set(ready)
    return ordered


def _raw_schema(manifest: Mapping[str, Any], unique_id: str) -> dict[str, Any]:
    raw: dict[str, dict[str, str]] = {}
    for each in upstream(manifest, unique_id):
        if each in manifest["sources"]:
            source = manifest["sources"][each]
            raw[source["name"]] = {name: column.get("data_type") for name, column in source["columns"].items()}
    return {"raw": raw}
