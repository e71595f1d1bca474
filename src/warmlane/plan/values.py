"""Is this plain JSON, and of a sane shape? The walk that every document passes before anyone looks at its meaning.

It goes without recursion, so that depth cannot hurt it, and finds everything that a parser or a Python caller could
let through: too deep nesting, doubled keys, NaN, dates, bytes, keys that are no strings, halves of characters.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from warmlane.plan.paths import Finding, Path
from warmlane.plan.plain import is_array, is_object, kind, show

DEEPEST = 32
"""The document itself is level 1."""

TOO_DEEP = f"it is nested deeper than {DEEPEST} levels"
TOO_LONG = "a number has too many digits"  # Python refuses to read more than 4300, and nothing else of what is JSON


class DocumentError(ValueError):
    """Why there are no values to be had from this file or text, as one sentence."""


_LARGEST = 10**4000
"""Python refuses to write an integer of more than 4300 digits as text."""


class Doubled(dict[str, Any]):
    """An object of a document in which keys appeared twice: the last value of each, and the names."""

    def __init__(self, pairs: Iterable[tuple[str, Any]], doubled: Iterable[str]) -> None:
        super().__init__(pairs)
        self.doubled = tuple(doubled)


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object that these pairs make, with a note of the keys that appear twice."""
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    counts = Counter(key for key, _ in pairs)
    return Doubled(pairs, [key for key, count in counts.items() if count > 1])


def walk(document: Any, path: Path = ()) -> Iterator[Finding]:
    """Everything about `document` that is not plain JSON of at most 32 levels, in no particular order."""
    todo: list[tuple[Any, Path]] = [(document, path)]
    while todo:
        value, at = todo.pop()
        match value:
            case None | bool():
                pass
            case str():
                if not _is_encodable(value):
                    yield at, "holds half of a character (a lone surrogate), which no text file can carry"
            case int():
                if abs(value) > _LARGEST:
                    yield at, "is a number of more than 4000 digits"
            case float():
                if not math.isfinite(value):
                    yield at, f"must be a finite number, and {value} is not one"
            case _ if (is_object(value) or is_array(value)) and len(at) - len(path) >= DEEPEST:
                yield at, f"is nested deeper than {DEEPEST} levels"
            case _ if is_array(value):
                todo.extend((item, (*at, index)) for index, item in enumerate(value))
            case _ if is_object(value):
                if isinstance(value, Doubled):
                    yield from (((*at, key), "the key appears twice in its object") for key in value.doubled)
                for key, item in value.items():
                    if not isinstance(key, str):
                        yield at, f"keys must be strings, and {show(key)} is none"
                    elif not _is_encodable(key):
                        yield at, "has a key with half of a character (a lone surrogate)"
                    else:
                        todo.append((item, (*at, key)))
            case _:
                yield at, f"expected plain JSON, got {kind(value)}"


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
