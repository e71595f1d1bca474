"""A plain document as a `WorkflowPlan`, or everything that is wrong with its structure. Built on cattrs.

All findings come at once, with the document's own names and paths. The document may be anything at all; only findings
come out, never another exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs
from cattrs import BaseValidationError
from cattrs.errors import AttributeValidationNote, IterableValidationNote
from cattrs.gen import make_dict_structure_fn, override

from warmlane.plan import anatomy
from warmlane.plan.hooks import Hook, WrongError, converter, together
from warmlane.plan.model import Block, ParallelLane, WorkflowPlan, Workspace
from warmlane.plan.paths import Finding, Later, Path, Sentence, hint
from warmlane.plan.plain import is_object, kind, quote
from warmlane.wire import wire_name

KINDS_OF_BLOCK = ("command", "python", "request")

KINDS_TO_COME = frozenset({"map", "gate", "delay"})

NOT_YET: Mapping[type, frozenset[str]] = {
    Block: KINDS_TO_COME | {"needs", "when", "retry"},
    ParallelLane: KINDS_TO_COME | {"needs", "when", "retry", "timeoutMs"},
    WorkflowPlan: KINDS_TO_COME | {"needs", "when", "retry"},
}
"""Keys that this version cannot carry out: their meaning is settled, or others will look for it here."""

SHORTHAND: Mapping[type, Callable[[str], Mapping[str, Any]]] = {
    ParallelLane: lambda block_id: {"blocks": [block_id]},
    Workspace: lambda path: {"path": path},
}
"""Classes that a document may also write as one string."""


def shape(document: Any, found: Iterable[Finding]) -> tuple[WorkflowPlan | None, list[Finding]]:
    """The plan, or None and at least one finding. `found` is what `walk` has found, and whatever else is known."""
    findings = list(found)
    try:
        plan = converter.structure(document, WorkflowPlan)
    except (BaseValidationError, WrongError) as error:
        # What is not even plain JSON is of no right type either; once is enough.
        told = {path for path, _ in findings}
        findings += [finding for finding in _findings(error, ()) if finding[0] not in told]
        return None, findings
    return (None if findings else plan), findings


def _findings(error: BaseException, path: Path) -> Iterator[Finding]:
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from _findings(inner, path + _step(inner, error.cl))
    elif isinstance(error, WrongError):
        yield path + error.path, error.sentence
    else:
        raise error


def _step(error: BaseException, cls: Any) -> Path:
    path: Path = ()
    # Notes are added from the inside out: the one of this level is the last.
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            path = (wire_name(getattr(attrs.fields(cls), note.name)),)
        elif isinstance(note, IterableValidationNote):
            path = (note.index,)
    return path


def _object(cls: type[Any]) -> Hook:
    if cls not in SHORTHAND:
        return _strict_object(cls, "an object")
    inner, written_out = _strict_object(cls, "a string or an object"), SHORTHAND[cls]

    def hook(value: Any, type_: Any) -> Any:
        if not isinstance(value, str):
            return inner(value, type_)
        try:
            return inner(written_out(value), type_)
        except BaseValidationError as error:
            # What is wrong inside is wrong here, where the string stands.
            raise WrongError("; ".join(str(sentence) for _, sentence in _findings(error, ()))) from None

    return hook


def _strict_object(cls: type[Any], expected: str) -> Hook:
    known = {wire_name(field): field for field in anatomy.fields_of(cls)}
    renamed: Any = {field.name: _override(name, field) for name, field in known.items()}
    inner: Any = make_dict_structure_fn(cls, converter, **renamed)

    def hook(value: Any, _type: Any) -> Any:
        if not is_object(value):
            raise WrongError(f"expected {expected}, got {kind(value)}")
        faults: list[Exception] = list(_faults_of_keys(cls, known, value))
        structured = None
        try:
            structured = inner(value, cls)
        except BaseValidationError as error:
            # A KeyError is cattrs' word for what is missing, and that has been said.
            faults += (fault for fault in error.exceptions if not isinstance(fault, KeyError))
        if faults:
            raise together(faults, cls)
        return structured

    return hook


def _override(name: str, field: attrs.Attribute[Any]) -> Any:
    if field.metadata.get("unit") != "seconds":
        return override(rename=name)
    inner: Any = converter.get_structure_hook(field.type)
    return override(rename=name, struct_hook=lambda value, type_: inner(value, type_) / 1000)


def _faults_of_keys(
    cls: type, known: Mapping[str, attrs.Attribute[Any]], given: Mapping[Any, Any]
) -> Iterator[WrongError]:
    for key in given:
        if isinstance(key, str) and key not in known:
            yield WrongError(_unknown(cls, key, known), (key,))
    for key, field in known.items():
        if field.default is attrs.NOTHING and key not in given:
            yield WrongError("is required, and missing", (key,))
    if cls is Block:
        kinds = [key for key in KINDS_OF_BLOCK if key in given]
        if len(kinds) > 1 or not (kinds or KINDS_TO_COME.intersection(given)):
            got = " and ".join(map(quote, kinds)) or "none of them"
            yield WrongError(f"a block has exactly one of 'command', 'python' and 'request', got {got}")


def _unknown(cls: type, key: str, known: Mapping[str, Any]) -> Sentence:
    if key in NOT_YET.get(cls, ()):
        return f"this version of Warmlane does not have {quote(key)} yet"
    return Later(lambda: f"unknown key{hint(key, known)}")


converter.register_structure_hook_factory(attrs.has, _object)
