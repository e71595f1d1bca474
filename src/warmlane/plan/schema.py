"""The JSON Schema (Draft 2020-12) of a plan, for editors and other tools: one walk over the classes of the model.

It says what the reader says about structure. What it cannot say (do the lanes name blocks?) is left to `check.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import attrs

from warmlane.plan import anatomy
from warmlane.plan.model import Block, WorkflowPlan
from warmlane.plan.shape import KINDS_OF_BLOCK, SHORTHAND
from warmlane.plan.words import Rule
from warmlane.wire import wire_name

_PRIMITIVES: Mapping[Any, str] = {str: "string", int: "integer", float: "number"}


def plan_schema() -> dict[str, Any]:
    """The schema, as plain JSON values of its own for each call."""
    definitions: dict[str, Any] = {}
    root = _object(WorkflowPlan, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Warmlane workflow plan",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _object(cls: type[Any], definitions: dict[str, Any]) -> dict[str, Any]:
    fields = anatomy.fields_of(cls)
    schema: dict[str, Any] = {
        "description": " ".join((cls.__doc__ or "").split("\n\n")[0].split()),
        "type": "object",
        "properties": {wire_name(field): _property(field, definitions) for field in fields},
        "additionalProperties": False,
    }
    required = [wire_name(field) for field in fields if field.default is attrs.NOTHING]
    if required:
        schema["required"] = required
    if cls is Block:
        schema["oneOf"] = [{"required": [kind]} for kind in KINDS_OF_BLOCK]
    return schema


def _property(field: attrs.Attribute[Any], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = _type(field.type, definitions)
    if field.metadata.get("unit") == "seconds":
        schema["description"] += " In milliseconds."
    return schema


def _type(type_: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    args = get_args(type_)
    if anatomy.is_annotated(type_):
        schema = _type(args[0], definitions)
        for note in anatomy.notes_of(type_):
            if isinstance(note, Rule):
                schema.update(note.schema)
                schema.setdefault("description", note.says)
            else:
                schema["description"] = note
        return schema
    if anatomy.is_optional(type_):
        return _type(anatomy.without_none(type_), definitions)
    if anatomy.is_choice(type_):
        return {"enum": list(args)}
    if anatomy.is_list(type_):
        return {"type": "array", "items": _type(args[0], definitions)}
    if anatomy.is_mapping(type_):
        key, item = (_type(arg, definitions) for arg in args)
        names = {} if key == {"type": "string"} else {"propertyNames": key}
        return {"type": "object", "additionalProperties": item, **names}
    if attrs.has(type_):
        return _reference(type_, definitions)
    return {} if type_ is Any else {"type": _PRIMITIVES[type_]}


def _reference(cls: type[Any], definitions: dict[str, Any]) -> dict[str, Any]:
    name = cls.__name__
    if name not in definitions:
        definitions[name] = {}  # holds the place of a class that holds itself
        definitions[name] = _object(cls, definitions)
    if cls not in SHORTHAND:
        return {"$ref": f"#/$defs/{name}"}
    (key,) = SHORTHAND[cls]("")
    word = definitions[name]["properties"][key]
    return {"anyOf": [word.get("items", word), {"$ref": f"#/$defs/{name}"}]}
