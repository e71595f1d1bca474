"""Strict cattrs hooks for everything in a plan but its classes: nothing is converted, null is no absent value.

cattrs would turn 5 into "5" and take a string for a list of its letters. `converter` is the one that `shape.py`
completes. A wrong value raises WrongError, which holds the sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from cattrs import BaseValidationError, Converter
from cattrs.errors import IterableValidationNote

from warmlane.plan import anatomy
from warmlane.plan.paths import Path, Sentence, hint
from warmlane.plan.plain import is_array, is_object, kind, quote, show
from warmlane.plan.words import Rule

Hook = Callable[[Any, Any], Any]


class WrongError(ValueError):
    """What is wrong at this very place, or further down: the rest of the path, and the sentence."""

    def __init__(self, sentence: Sentence, path: Path = ()) -> None:
        self.sentence, self.path = sentence, path
        super().__init__(sentence, path)


def together(faults: list[Exception], cls: type[Any]) -> BaseValidationError:
    """All that is wrong with a value of `cls`, as cattrs itself would raise it."""
    return BaseValidationError("", faults, cls)  # pyright: ignore[reportCallIssue]  # its __new__ takes three


converter = Converter(detailed_validation=True)


def _exactly(expected: str, *classes: type) -> Hook:
    def hook(value: Any, _type: Any) -> Any:
        if not isinstance(value, classes) or (isinstance(value, bool) and bool not in classes):
            got = show(value) if isinstance(value, float) and int in classes else kind(value)
            raise WrongError(f"expected {expected}, got {got}{_quotes(value, expected)}")
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
    converter.register_structure_hook(_class, _hook)


def _one_of(type_: Any) -> Hook:
    words = get_args(type_)
    expected = "expected one of " + ", ".join(map(quote, words))

    def hook(value: Any, _type: Any) -> Any:
        if not isinstance(value, str):
            raise WrongError(f"{expected}, got {kind(value)}")
        if value not in words:
            raise WrongError(f"{expected}, got {quote(value)}{hint(value, words)}")
        return value

    return hook


def _ruled(type_: Any) -> Hook:
    bare = get_args(type_)[0]
    inner = converter.get_structure_hook(bare)
    rules = [note for note in anatomy.notes_of(type_) if isinstance(note, Rule)]

    def hook(value: Any, _type: Any) -> Any:
        structured = inner(value, bare)
        for rule in rules:
            if not rule.holds(value):
                got = f", got {show(value)}" if isinstance(value, str | int | float) else ""
                raise WrongError(rule.says + got)
        return structured

    return hook


def _not_null(type_: Any) -> Hook:
    bare = anatomy.without_none(type_)
    inner = converter.get_structure_hook(bare)
    return lambda value, _type: inner(value, bare)


def _mapping(type_: Any) -> Hook:
    # cattrs' own looks at a key only when its value is right.
    key_type, item_type = get_args(type_)
    key_hook, item_hook = map(converter.get_structure_hook, get_args(type_))

    def hook(value: Any, _type: Any) -> Any:
        if not is_object(value):
            raise WrongError(f"expected an object, got {kind(value)}")
        structured: dict[Any, Any] = {}
        faults: list[Exception] = []
        for key, item in value.items():
            if not isinstance(key, str):
                continue  # `walk` says so
            try:
                key_hook(key, key_type)
            except WrongError as error:
                faults.append(WrongError(error.sentence, (key,)))
            try:
                structured[key] = item_hook(item, item_type)
            except (WrongError, BaseValidationError) as error:
                error.add_note(IterableValidationNote("", key, item_type))
                faults.append(error)
        if faults:
            raise together(faults, dict)
        return structured

    return hook


def _list(type_: Any) -> Hook:
    items: Any = list[get_args(type_)[0]]  # type: ignore[misc]  # a type made at run time
    inner = converter.get_structure_hook(items)

    def hook(value: Any, _type: Any) -> Any:
        if not is_array(value):
            raise WrongError(f"expected a list, got {kind(value)}")
        return tuple(inner(value, items))

    return hook


converter.register_structure_hook_factory(anatomy.is_choice, _one_of)
converter.register_structure_hook_factory(anatomy.is_annotated, _ruled)
converter.register_structure_hook_factory(anatomy.is_optional, _not_null)
converter.register_structure_hook_factory(anatomy.is_mapping, _mapping)
converter.register_structure_hook_factory(anatomy.is_list, _list)
