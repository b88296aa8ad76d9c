"""The config as JSON Schema (draft 2020-12), for completion and checks in editors. Pure.

Made from the same types that the loader converts to. Where the loader takes `${NAME}` for a number or a choice, the
schema does too. Rules across fields are the loader's alone.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import msgspec
from msgspec import inspect

from .. import sinks
from .convert import struct_type
from .draft import size
from .types import Config, SinkCommon, SourceSettings
from .units import Bytes, Seconds

Schema = dict[str, Any]

_VARIABLE: Schema = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^{}]*)?\}"}
_CUSTOM: dict[type, list[Schema]] = {
    Bytes: [{"type": "integer", "minimum": 0},
            {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? *(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?$"}],
    Seconds: [{"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"}],
}


def json_schema() -> Schema:
    """The whole config, with every sink type there is. Imports all sinks."""
    config = _struct(struct_type(Config), leave_out=("sources", "sinks"))
    sources = [_struct(struct_type(cls)) for cls in get_args(SourceSettings)]
    config["properties"] |= {"sources": _named(sources), "sinks": _named([_sink(name) for name in sinks.available()])}
    config["required"] = ["sources", "sinks"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "shipper config", **config}


def _named(choices: list[Schema]) -> Schema:
    return {"type": "object", "minProperties": 1, "additionalProperties": {"oneOf": choices}}


def _sink(type_name: str) -> Schema:
    spec = sinks.find(type_name)
    own, common = _struct(struct_type(spec.config)), _struct(struct_type(SinkCommon))
    return {
        "description": spec.summary,
        "type": "object",
        "properties": {"type": {"const": type_name}, **own["properties"], **common["properties"]},
        "required": ["type", *own.get("required", [])],
        "additionalProperties": False,
    }


def _struct(wanted: inspect.StructType, leave_out: tuple[str, ...] = ()) -> Schema:
    properties: Schema = {}
    if wanted.tag_field:
        properties[wanted.tag_field] = {"const": wanted.tag}
    fields = [f for f in wanted.fields if f.encode_name not in leave_out]
    for f in fields:
        properties[f.encode_name] = _type(f.type) | _default(f)
    required = [wanted.tag_field] if wanted.tag_field else []
    required += [f.encode_name for f in fields if f.required]
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {})


def _default(f: inspect.Field) -> Schema:
    value = f.default if f.default_factory is msgspec.NODEFAULT else f.default_factory()
    if value is msgspec.NODEFAULT or isinstance(value, msgspec.Struct):
        return {}
    if isinstance(value, Seconds):
        return {"default": f"{value * 1000:g}ms" if value < 1 else f"{value:g}s"}
    if isinstance(value, tuple):
        return {"default": list(value)}
    return {"default": size(value) if isinstance(value, Bytes) else value}


def _type(wanted: inspect.Type) -> Schema:
    if isinstance(wanted, inspect.StructType):
        return _struct(wanted)
    for cls, make in _MAKERS.items():
        if isinstance(wanted, cls):
            return make(wanted)
    raise TypeError(f"no schema for {wanted}; add it to schema.py")


def _bounded(kind: str) -> Callable[[Any], Schema]:
    words = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}

    def make(wanted: Any) -> Schema:
        limits = {word: getattr(wanted, name) for name, word in words.items() if getattr(wanted, name) is not None}
        return {"anyOf": [{"type": kind, **limits}, _VARIABLE]}

    return make


_MAKERS: dict[type, Callable[[Any], Schema]] = {
    inspect.Metadata: lambda wanted: _type(wanted.type),
    inspect.AnyType: lambda wanted: {},
    inspect.NoneType: lambda wanted: {"type": "null"},
    inspect.StrType: lambda wanted: {"type": "string"},
    inspect.BoolType: lambda wanted: {"anyOf": [{"type": "boolean"}, _VARIABLE]},
    inspect.IntType: _bounded("integer"),
    inspect.FloatType: _bounded("number"),
    inspect.LiteralType: lambda wanted: {"anyOf": [{"enum": list(wanted.values)}, _VARIABLE]},
    inspect.EnumType: lambda wanted: {"anyOf": [{"enum": [member.value for member in wanted.cls]}, _VARIABLE]},
    inspect.CustomType: lambda wanted: {"anyOf": [*_CUSTOM[wanted.cls], _VARIABLE]},
    inspect.UnionType: lambda wanted: {"anyOf": [_type(t) for t in wanted.types]},
    inspect.ListType: lambda wanted: {"type": "array", "items": _type(wanted.item_type)},
    inspect.SetType: lambda wanted: {"type": "array", "items": _type(wanted.item_type), "uniqueItems": True},
    inspect.FrozenSetType: lambda wanted: {"type": "array", "items": _type(wanted.item_type), "uniqueItems": True},
    inspect.VarTupleType: lambda wanted: {"type": "array", "items": _type(wanted.item_type)},
    inspect.DictType: lambda wanted: {"type": "object", "additionalProperties": _type(wanted.value_type)},
}
