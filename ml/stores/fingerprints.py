"""What a feature is made of, as one hash, so that a model can tell when what it was fed has changed."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

# Quoted text is kept as it is; comments and runs of white space say nothing about the result.
_TOKENS = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*")|(?:--[^\n]*|/\*.*?\*/|\s)+""", re.DOTALL)


def normalized_sql(sql: str) -> str:
    """SQL without comments and with every run of white space as one blank."""
    return _TOKENS.sub(lambda match: match[1] or " ", sql).strip()


def feature_fingerprints(manifest: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 per feature mart over its compiled SQL, its columns' types, and those of all that it is built from.

    The target's database name is left out, so a developer's build and the platform's agree; no model's SQL names the
    target day or a path.

    Args:
        manifest: dbt's manifest of a build (compiled SQL included).
    """
    features = [
        node
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["fqn"][1:3] == ["marts", "features"]
    ]
    return {node["name"]: _fingerprint(manifest, node["unique_id"]) for node in features}


def _fingerprint(manifest: Mapping[str, Any], feature: str) -> str:
    described = {unique_id: _describe(manifest, unique_id) for unique_id in upstream(manifest, feature)}
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def upstream(manifest: Mapping[str, Any], unique_id: str) -> set[str]:
    """A node of dbt's graph with everything that it is built from, models and sources."""
    found: set[str] = set()
    waiting = [unique_id]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += manifest["parent_map"].get(current, [])
    return found


def _describe(manifest: Mapping[str, Any], unique_id: str) -> dict[str, Any]:
    node = manifest["nodes"].get(unique_id) or manifest["sources"][unique_id]
    columns = {name: column.get("data_type") for name, column in node["columns"].items()}
    sql = node.get("compiled_code") or ""
    return {"columns": columns, "sql": normalized_sql(sql.replace(f'"{node["database"]}".', ""))}
