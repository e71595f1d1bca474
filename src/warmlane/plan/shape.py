"""A plain document as a `WorkflowPlan`, or everything that is wrong with its structure. Built on cattrs.

Strict: nothing is converted, no key is ignored, null stands for nothing but null. All findings come at once, with the
document's own names. The document may be anything at all; only findings come out, never another exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import attrs
from cattrs import BaseValidationError, Converter
from cattrs.errors import AttributeValidationNote, IterableValidationNote
from cattrs.gen import make_dict_structure_fn, override

from warmlane.plan import anatomy
from warmlane.plan.model import Block, ParallelLane, WorkflowPlan, Workspace
from warmlane.plan.paths import Finding, Later, Path, Sentence, hint, kind, quote, show
from warmlane.plan.words import Rule
from warmlane.wire import wire_name

Hook = Callable[[Any, Any], Any]

NOT_YET: Mapping[type, frozenset[str]] = {
    Block: frozenset({"needs", "when", "map", "gate", "delay", "retry"}),
    ParallelLane: frozenset({"needs", "when", "map", "gate", "delay", "retry", "timeoutMs"}),
    WorkflowPlan: frozenset({"needs", "when", "map", "gate", "delay", "retry"}),
}
"""Keys with a meaning that is settled, and that this version cannot carry out."""

SHORTHAND: Mapping[type, Callable[[str], Mapping[str, Any]]] = {
    ParallelLane: lambda block_id: {"blocks": [block_id]},
    Workspace: lambda path: {"path": path},
}
"""Classes that a document may also write as one string."""

KINDS_OF_BLOCK = ("command", "python", "request")


class _WrongError(ValueError):
    """A finding at this very place."""


class _LacksError(ValueError):
    """A finding about something below this place: the rest of the path, and what to say."""

    def __init__(self, path: Path, message: Sentence) -> None:
        self.path, self.message = path, message
        super().__init__(path, message)


def shape(document: Any) -> tuple[WorkflowPlan | None, list[Finding]]:
    """The plan, or None and at least one finding."""
    try:
        return _converter.structure(document, WorkflowPlan), []
    except (BaseValidationError, _WrongError) as error:
        return None, list(_findings(error, ()))


def _findings(error: BaseException, path: Path) -> Iterator[Finding]:
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from _findings(inner, path + _step(inner, error.cl))
    elif isinstance(error, _LacksError):
        yield path + error.path, error.message
    elif isinstance(error, _WrongError):
        yield path, str(error)
    else:
        raise error


def _step(error: BaseException, cls: Any) -> Path:
    # Notes are added from the inside out: the one of this level is the last.
    match [
        note
        for note in getattr(error, "__notes__", ())
        if isinstance(note, AttributeValidationNote | IterableValidationNote)
    ]:
        case [*_, AttributeValidationNote(name=name)]:
            return (wire_name(getattr(attrs.fields(cls), name)),)
        case [*_, IterableValidationNote(index=index)]:
            return (index,)
        case _:
            return ()


_converter = Converter(detailed_validation=True)


def _exactly(expected: str, *classes: type) -> Hook:
    def hook(value: Any, _type: Any) -> Any:
        if not isinstance(value, classes) or (isinstance(value, bool) and bool not in classes):
            got = show(value) if isinstance(value, float) and int in classes else kind(value)
            raise _WrongError(f"expected {expected}, got {got}{_quotes(value, expected)}")
        return value

    return hook


def _quotes(value: Any, expected: str) -> str:
    # YAML and TOML readers meet this: VERSION: 3.10 is a number.
    return "; put it in quotes" if expected == "a string" and isinstance(value, bool | int | float) else ""


for _class, _hook in {
    str: _exactly("a string", str),
    int: _exactly("a whole number", int),
    float: _exactly("a number", int, float),
}.items():
    _converter.register_structure_hook(_class, _hook)


def _one_of(type_: Any) -> Hook:
    words = get_args(type_)
    expected = "expected one of " + ", ".join(map(quote, words))

    def hook(value: Any, _type: Any) -> Any:
        if not isinstance(value, str):
            raise _WrongError(f"{expected}, got {kind(value)}")
        if value not in words:
            raise _WrongError(f"{expected}, got {quote(value)}{hint(value, words)}")
        return value

    return hook


def _ruled(type_: Any) -> Hook:
    bare = get_args(type_)[0]
    inner = _converter.get_structure_hook(bare)
    rules = [note for note in anatomy.notes_of(type_) if isinstance(note, Rule)]

    def hook(value: Any, _type: Any) -> Any:
        structured = inner(value, bare)
        for rule in rules:
            if not rule.holds(value):
                got = f", got {show(value)}" if isinstance(value, str | int | float) else ""
                raise _WrongError(rule.says + got)
        return structured

    return hook


def _not_null(type_: Any) -> Hook:
    bare = anatomy.without_none(type_)
    inner = _converter.get_structure_hook(bare)
    return lambda value, _type: inner(value, bare)


def _mapping(type_: Any) -> Hook:
    # cattrs' own looks at a key only when its value is right.
    key_type, item_type = get_args(type_)
    key_hook, item_hook = map(_converter.get_structure_hook, get_args(type_))

    def hook(value: Any, _type: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _WrongError(f"expected an object, got {kind(value)}")
        structured: dict[Any, Any] = {}
        faults: list[Exception] = []
        for key, item in value.items():
            if not isinstance(key, str):
                continue  # `walk` says so
            try:
                key_hook(key, key_type)
            except _WrongError as error:
                faults.append(_LacksError((key,), str(error)))
            try:
                structured[key] = item_hook(item, item_type)
            except (_WrongError, BaseValidationError) as error:
                error.add_note(IterableValidationNote("", key, item_type))
                faults.append(error)
        if faults:
            raise BaseValidationError("", faults, dict)
        return structured

    return hook


def _list(type_: Any) -> Hook:
    items: Any = list[get_args(type_)[0]]  # type: ignore[misc]  # a type made at run time
    inner = _converter.get_structure_hook(items)

    def hook(value: Any, _type: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _WrongError(f"expected a list, got {kind(value)}")
        return tuple(inner(value, items))

    return hook


def _object(cls: type[Any]) -> Hook:
    fields = anatomy.fields_of(cls)
    known = {wire_name(field): field for field in fields}
    required = [name for name, field in known.items() if field.default is attrs.NOTHING]
    renamed: Any = {field.name: _override(field) for field in fields}
    inner = make_dict_structure_fn(cls, _converter, **renamed)
    shorthand = SHORTHAND.get(cls)
    expected = "an object" if shorthand is None else "a string or an object"

    def hook(value: Any, _type: Any) -> Any:
        if shorthand is not None and isinstance(value, str):
            try:
                return inner(shorthand(value), cls)
            except BaseValidationError as error:
                raise _WrongError("; ".join(str(message) for _, message in _findings(error, ()))) from error
        if not isinstance(value, Mapping):
            raise _WrongError(f"expected {expected}, got {kind(value)}")
        unknown = [key for key in value if isinstance(key, str) and key not in known]
        faults: list[Exception] = [_LacksError((key,), _unknown(cls, key, known)) for key in unknown]
        faults += [_LacksError((key,), "is required, and missing") for key in required if key not in value]
        if cls is Block:
            faults += _kinds_of(value)
        try:
            structured = inner(value, cls)
        except BaseValidationError as error:
            # A KeyError is cattrs' word for what is missing, and that has been said.
            faults += (fault for fault in error.exceptions if not isinstance(fault, KeyError))
        if faults:
            raise BaseValidationError("", faults, cls)
        return structured

    return hook


def _override(field: attrs.Attribute[Any]) -> Any:
    if field.metadata.get("unit") != "seconds":
        return override(rename=wire_name(field))
    inner = _converter.get_structure_hook(field.type)
    return override(rename=wire_name(field), struct_hook=lambda value, type_: inner(value, type_) / 1000)


def _unknown(cls: type, key: Any, known: Mapping[str, Any]) -> Sentence:
    if key in NOT_YET.get(cls, ()):
        return f"this version of Warmlane does not have {quote(key)} yet"
    return Later(lambda: f"unknown key{hint(key, known)}")


def _kinds_of(block: Mapping[Any, Any]) -> Iterator[Exception]:
    given = [key for key in KINDS_OF_BLOCK if key in block]
    if len(given) != 1 and not NOT_YET[Block] & set(block):
        got = " and ".join(map(quote, given)) or "none of them"
        yield _LacksError((), f"a block has exactly one of 'command', 'python' and 'request', got {got}")


_converter.register_structure_hook_factory(attrs.has, _object)
_converter.register_structure_hook_factory(anatomy.is_choice, _one_of)
_converter.register_structure_hook_factory(anatomy.is_annotated, _ruled)
_converter.register_structure_hook_factory(anatomy.is_optional, _not_null)
_converter.register_structure_hook_factory(anatomy.is_mapping, _mapping)
_converter.register_structure_hook_factory(anatomy.is_list, _list)
