"""How Python's names and units become the document's and the monitor's.

Python says snake_case and seconds; JSON says camelCase, milliseconds and ISO 8601. A field carries its unit in
its metadata (`SECONDS`, `MOMENT`), and everything that reads or writes JSON takes name and unit from here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

SECONDS: Mapping[str, str] = {"unit": "seconds"}
"""Metadata of a field that holds a duration in seconds; on the wire `<name>Ms`, a number of milliseconds."""

MOMENT: Mapping[str, str] = {"unit": "moment"}
"""Metadata of a field that holds seconds since the epoch; on the wire ISO 8601 in UTC."""


def camel(name: str) -> str:
    """`max_containers` -> `maxContainers`; `from_` -> `from`."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(part.title() for part in rest)


def wire_name(field: attrs.Attribute[Any]) -> str:
    """The key of this field in JSON, with its unit."""
    return camel(field.name) + ("Ms" if field.metadata.get("unit") == "seconds" else "")


def milliseconds(seconds: float | None) -> float | None:
    """Seconds as milliseconds, rounded to a microsecond; None stays None."""
    return None if seconds is None else round(seconds * 1000, 3)


def iso(moment: float | None) -> str | None:
    """Seconds since the epoch as `2026-02-22T10:00:00.123Z`; None stays None."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_HOOKS: Mapping[str | None, Callable[[Any], Any] | None] = {"seconds": milliseconds, "moment": iso, None: None}

_converter = Converter()


def _unstructurer(cls: type[Any]) -> Callable[[Any], dict[str, Any]]:
    fields = {
        field.name: override(rename=wire_name(field), unstruct_hook=_HOOKS[field.metadata.get("unit")])
        for field in attrs.fields(cls)
    }
    return make_dict_unstructure_fn(cls, _converter, **fields)  # type: ignore[arg-type]


_converter.register_unstructure_hook_factory(attrs.has, _unstructurer)


def to_wire(value: object) -> Any:
    """Any of our attrs classes (and what they hold) as plain JSON values."""
    return _converter.unstructure(value)


def encode(value: object) -> str:
    """Plain JSON values as one compact line. Never NaN: what JSON cannot say, we must not have let in."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
