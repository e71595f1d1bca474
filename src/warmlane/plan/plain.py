"""Plain values, as JSON has them: what kind each is, and how a sentence shows it. Nothing here fails on any value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard


def is_object(value: object) -> TypeGuard[Mapping[Any, Any]]:
    """What JSON calls an object; its keys may still be anything."""
    return isinstance(value, Mapping)


def is_array(value: object) -> TypeGuard[Sequence[Any]]:
    """A list; a tuple counts as one, for plans are made in Python, too."""
    return isinstance(value, list | tuple)


def quote(text: str) -> str:
    """A word in quotes on one line, clipped; what cannot be printed shows as escapes."""
    clipped = text if len(text) <= 60 else text[:57] + "..."
    return "'" + "".join(char if char.isprintable() else ascii(char)[1:-1] for char in clipped) + "'"


def kind(value: object) -> str:
    """What JSON calls a value: `a string`, `a number`, `null` ..."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "an object"
        case _:
            return f"a Python {type(value).__name__}"


def show(value: object) -> str:
    """A value as the document has it, if it is a word or a number of a sane size; else what kind of value it is."""
    match value:
        case str():
            return quote(value)
        case bool():
            return str(value).lower()
        case int() if abs(value) >= 10**30:
            return "a number of more than 30 digits"  # Python refuses to print very long ones
        case int() | float():
            return repr(value)
        case _:
            return kind(value)
