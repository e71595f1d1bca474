"""YAML read as JSON in other clothes: plain scalars mean what JSON would say they mean, and all else is a string.

So `no`, `2024-01-01`, `1:30` and `022` are strings and no surprise. Anchors, aliases, tags and several documents in
one file are refused: a plan that uses them means more than it shows. Built on PyYAML's events, which come without
recursion and one by one, so depth is refused before anything is built.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from warmlane.plan.values import DEEPEST, TOO_DEEP, TOO_LONG, DocumentError, object_of

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


class _Collection:
    """A list or an object that is being read: for an object, `items` takes keys and values in turn."""

    def __init__(self, *, is_object: bool) -> None:
        self.is_object = is_object
        self.items: list[Any] = []

    def close(self) -> Any:
        return object_of(list(zip(self.items[::2], self.items[1::2], strict=True))) if self.is_object else self.items


def parse(text: str) -> Any:
    """The values of a YAML text. Raises DocumentError with line and column."""
    try:
        return _build(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise DocumentError(f"not YAML: {where}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise DocumentError("not YAML: " + " ".join(str(error).split())) from None


def _build(text: str) -> Any:
    root = _Collection(is_object=False)
    stack = [root]
    documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        match event:
            case yaml.DocumentStartEvent():
                documents += 1
                if documents > 1:
                    raise _refuse(event, "the file holds more than one document")
            case yaml.AliasEvent():
                raise _refuse(event, f"aliases (*{event.anchor}) are not allowed in a plan; write the value out")
            case yaml.ScalarEvent() | yaml.CollectionStartEvent():
                _check_node(event, stack)
                if isinstance(event, yaml.ScalarEvent):
                    stack[-1].items.append(_scalar(event))
                elif len(stack) > DEEPEST:
                    raise _refuse(event, TOO_DEEP)
                else:
                    stack.append(_Collection(is_object=isinstance(event, yaml.MappingStartEvent)))
            case yaml.CollectionEndEvent():
                done = stack.pop()
                stack[-1].items.append(done.close())
            case _:
                pass
    return root.items[0] if root.items else None


def _check_node(event: yaml.ScalarEvent | yaml.CollectionStartEvent, stack: list[_Collection]) -> None:
    if event.anchor is not None:
        raise _refuse(event, f"anchors (&{event.anchor}) are not allowed in a plan")
    if event.tag is not None:
        raise _refuse(event, f"tags ({event.tag}) are not allowed in a plan")
    is_key = stack[-1].is_object and len(stack[-1].items) % 2 == 0
    if is_key and not (isinstance(event, yaml.ScalarEvent) and isinstance(_scalar(event), str)):
        shown = f", and {event.value!r} is none; put it in quotes" if isinstance(event, yaml.ScalarEvent) else ""
        raise _refuse(event, f"keys must be strings{shown}")


def _scalar(event: yaml.ScalarEvent) -> Any:
    text = event.value
    if not event.implicit[0]:  # quoted, or a block of text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if not _NUMBER.fullmatch(text):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise _refuse(event, TOO_LONG) from None


def _refuse(event: yaml.Event, sentence: str) -> DocumentError:
    mark: Any = event.start_mark
    return DocumentError(f"line {mark.line + 1}, column {mark.column + 1}: {sentence}")
