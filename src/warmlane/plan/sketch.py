"""What a document still says where parts of it are wrong: its plan, with `UNKNOWN` in the place of each such part.

So `check.py` can judge what is sound in it, and need not guess about the rest: a key that is absent beside one that
nobody knows may be that one, misspelt, and is unknown, too. Nothing here fails on any document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import attrs

from warmlane.plan import anatomy
from warmlane.plan.hooks import converter
from warmlane.plan.model import Block, WorkflowPlan
from warmlane.plan.paths import Finding, Path
from warmlane.plan.plain import is_array, is_object
from warmlane.plan.shape import KINDS_OF_BLOCK, KINDS_TO_COME, NOT_YET
from warmlane.wire import wire_name


class _Unknown:
    """The class of `UNKNOWN`, which is true: what is unknown takes precedence over what is inherited."""


UNKNOWN: Any = _Unknown()


def sketch(document: Any, findings: Iterable[Finding]) -> Any:
    """The plan of a document of which `findings` are all that is structurally wrong; UNKNOWN if it is no object."""
    return _Sketch({path for path, _ in findings}).value(document, WorkflowPlan, ())


def holds_unknown(value: Any) -> bool:
    """Whether `UNKNOWN` is anywhere in this part of a sketch."""
    if attrs.has(value.__class__):
        return any(holds_unknown(getattr(value, field.name)) for field in attrs.fields(value.__class__))
    if is_object(value):
        return any(item is UNKNOWN for item in value.values())
    return value is UNKNOWN


class _Sketch:
    def __init__(self, broken: set[Path]) -> None:
        self._broken = broken
        self._above = {path[:depth] for path in broken for depth in range(len(path) + 1)}

    def value(self, value: Any, type_: Any, path: Path) -> Any:
        """What `value` means, which stands at `path` and should be of this type."""
        if path not in self._above:
            return converter.structure(value, type_)
        bare = anatomy.bare(type_)
        if attrs.has(bare) and is_object(value):
            return self._object(value, bare, path)
        if path in self._broken:
            return UNKNOWN
        if anatomy.is_mapping(bare) and is_object(value):
            return {key: self.value(item, get_args(bare)[1], (*path, key)) for key, item in value.items()}
        if anatomy.is_list(bare) and is_array(value):
            return tuple(self.value(item, get_args(bare)[0], (*path, index)) for index, item in enumerate(value))
        return UNKNOWN

    def _object(self, given: Mapping[Any, Any], cls: type[Any], path: Path) -> Any:
        fields = {wire_name(field): field for field in anatomy.fields_of(cls)}
        strange = any(key not in fields and key not in NOT_YET.get(cls, ()) for key in given)
        said: dict[str, Any] = {}
        for name, field in fields.items():
            if name in given:
                found = self.value(given[name], field.type, (*path, name))
                in_seconds = field.metadata.get("unit") == "seconds" and found is not UNKNOWN
                said[field.name] = found / 1000 if in_seconds else found
            elif strange or field.default is attrs.NOTHING:
                said[field.name] = UNKNOWN
        if cls is Block and (path in self._broken or KINDS_TO_COME.intersection(given)):
            said |= dict.fromkeys(KINDS_OF_BLOCK, UNKNOWN)
        return cls(**said)
