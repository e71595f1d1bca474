"""A plan as the document that would be read as this plan: the way back, and how hand-made plans are judged.

A plan made in Python can hold anything anywhere. What has a place in a document is put there as it is, for
`shape.py` to judge by the same rules; an object of the wrong class, which has none, is a finding of its own.
"""

from __future__ import annotations

from typing import Any, get_args

import attrs

from warmlane.plan import anatomy
from warmlane.plan.model import ParallelLane, WorkflowPlan
from warmlane.plan.paths import Finding, Path
from warmlane.plan.plain import is_array, is_object, kind
from warmlane.wire import milliseconds, wire_name


def describe(plan: WorkflowPlan) -> tuple[dict[str, Any], list[Finding]]:
    """The plan's document, without what equals a default, and what in it has no place in a document."""
    findings: list[Finding] = []
    return _object(plan, (), findings), findings


def _object(value: Any, path: Path, findings: list[Finding]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for field in anatomy.fields_of(value.__class__):
        held = getattr(value, field.name)
        if not _is_default(held, field):
            name = wire_name(field)
            document[name] = _value(_in_units(held, field), field.type, (*path, name), findings)
    return document


def _is_default(held: Any, field: attrs.Attribute[Any]) -> bool:
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # attrs types it as a function
        default = default.factory()
    return type(held) is type(default) and bool(held == default)


def _in_units(held: Any, field: attrs.Attribute[Any]) -> Any:
    is_duration = (
        field.metadata.get("unit") == "seconds" and isinstance(held, int | float) and not isinstance(held, bool)
    )
    return milliseconds(held) if is_duration else held


def _value(held: Any, type_: Any, path: Path, findings: list[Finding]) -> Any:
    bare = anatomy.bare(type_)
    args = get_args(bare)
    if attrs.has(bare):
        if not isinstance(held, bare):
            findings.append((path, f"expected a {bare.__name__}, got {_python_kind(held)}"))
            return None
        if isinstance(held, ParallelLane) and held.failure_mode is None:
            match held.blocks:
                case (str(block_id),):
                    return block_id
                case _:
                    pass
        return _object(held, path, findings)
    if anatomy.is_list(bare) and is_array(held):
        return [_value(item, args[0], (*path, index), findings) for index, item in enumerate(held)]
    if anatomy.is_mapping(bare) and is_object(held):
        return {key: _value(item, args[1], (*path, key), findings) for key, item in held.items()}
    return held


def _python_kind(held: Any) -> str:
    return kind(held) if held is None or isinstance(held, str | int | float) else f"a Python {type(held).__name__}"
