"""Where in a document something is wrong: paths, and the findings that carry one until they are shown.

A path is a tuple of keys and indexes; `render` writes it as users read it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from itertools import islice
from typing import Any

from attrs import frozen

from warmlane.errors import Problem
from warmlane.plan.plain import is_array, is_object, quote

Path = tuple[str | int, ...]
MOST_PROBLEMS = 100
"""A hostile document could hold a million; nobody reads more than these."""


@frozen
class Later:
    """A sentence that takes time to make, such as one with a hint: made if it is shown."""

    make: Callable[[], str]

    def __str__(self) -> str:
        return self.make()


Sentence = str | Later
Finding = tuple[Path, Sentence]
"""A problem that is not yet rendered."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def render(path: Path) -> str:
    """`('blocks', 'lint', 'command', 0)` as `$.blocks.lint.command[0]`; unusual keys are quoted and clipped."""
    return "$" + "".join(map(_step, path))


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if _PLAIN.fullmatch(key) else f"[{quote(key)}]"


def hint(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing if no known word is close. Slow: see `Later`."""
    # difflib takes quadratic time; a word longer than this is nobody's slip of the hand.
    close = get_close_matches(word, islice(known, 1000), n=1) if len(word) <= 64 else []
    return f"; did you mean {quote(close[0])}?" if close else ""


def problems_in_order(findings: Iterable[Finding], document: Any) -> tuple[Problem, ...]:
    """Findings as problems in the order of the document; what it lacks comes last in its object."""
    places: dict[int, dict[Any, int]] = {}

    def position(finding: Finding) -> tuple[int, ...]:
        place: list[int] = []
        node = document
        for key in finding[0]:
            if is_object(node):
                if id(node) not in places:
                    places[id(node)] = {known: index for index, known in enumerate(node)}
                keys = places[id(node)]
                place.append(keys.get(key, len(keys)))
                node = node.get(key)
            else:
                place.append(key if isinstance(key, int) else 0)
                node = node[key] if is_array(node) and isinstance(key, int) else None
        return tuple(place)

    ordered = sorted(findings, key=position)
    problems = [Problem(render(path), str(message)) for path, message in ordered[:MOST_PROBLEMS]]
    if len(ordered) > MOST_PROBLEMS:
        problems.append(Problem("$", f"and {len(ordered) - MOST_PROBLEMS} more problems"))
    return tuple(problems)
