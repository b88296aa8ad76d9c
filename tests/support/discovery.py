"""Google's discovery documents, as google-api-python-client carries them: what a request may look like."""
from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import googleapiclient

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "boolean": bool, "integer": int, "number": (int, float), "object": dict, "array": list,
}


@cache
def document(name: str) -> dict[str, Any]:
    """`name`: for example storage.v1."""
    path = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents" / f"{name}.json"
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def method(name: str, dotted: str) -> dict[str, Any]:
    """`dotted`: for example objects.insert, or projects.topics.publish."""
    *resources, last = dotted.split(".")
    found = document(name)
    for resource in resources:
        found = found["resources"][resource]
    return found["methods"][last]  # type: ignore[no-any-return]


def wrong_parameters(name: str, dotted: str, query: Mapping[str, str]) -> list[str]:
    """Query parameters that the method does not have, or whose pattern or list does not fit."""
    known = {**document(name)["parameters"], **method(name, dotted).get("parameters", {})}
    found = [f"no parameter {key}" for key in query if key not in known]
    return found + [f"{k}={v}" for k, v in query.items() if k in known and "enum" in known[k] and v not in known[k]["enum"]]


def wrong_shape(name: str, schema: str, value: Any, where: str = "") -> list[str]:
    """What in `value` is not as the schema says: unknown keys, wrong types; all the way down."""
    return _wrong(name, document(name)["schemas"][schema], value, where or schema)


def _wrong(name: str, schema: Mapping[str, Any], value: Any, where: str) -> list[str]:
    if "$ref" in schema:
        return wrong_shape(name, schema["$ref"], value, where)
    kind = schema.get("type", "any")
    if kind != "any" and (not isinstance(value, _TYPES[kind]) or (kind in ("integer", "number") and isinstance(value, bool))):
        return [f"{where} is {type(value).__name__}, not {kind}"]
    if kind == "array":
        return [found for i, one in enumerate(value) for found in _wrong(name, schema["items"], one, f"{where}[{i}]")]
    if kind != "object":
        return [f"{where}={value!r}"] if "enum" in schema and value not in schema["enum"] else []
    properties, rest = schema.get("properties", {}), schema.get("additionalProperties")
    wrong = []
    for key, one in value.items():
        inner = properties.get(key, rest)
        wrong += [f"{where}.{key} is unknown"] if inner is None else _wrong(name, inner, one, f"{where}.{key}")
    return wrong
