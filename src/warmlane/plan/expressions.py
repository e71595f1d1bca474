"""JMESPath as plans use it: is it one, which names does it start from, what does it give.

Every failure is an ExpressionError with one sentence, whatever the expression.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import jmespath
from jmespath.exceptions import EmptyExpressionError, IncompleteExpressionError, JMESPathError, LexerError, ParseError
from jmespath.functions import Functions

from warmlane.plan.paths import hint
from warmlane.plan.plain import quote
from warmlane.wire import encode

Node = Mapping[str, Any]

DEEPEST = 64
"""Levels of a syntax tree; all walks over one recurse."""


class ExpressionError(ValueError):
    """Why an expression is none, or gives nothing that a block can get."""


def parse(text: str) -> Node:
    """The syntax tree of an expression, all of whose functions exist."""
    try:
        with warnings.catch_warnings():
            # JMESPath still takes `word` for `"word"`, and only warns.
            warnings.simplefilter("error", PendingDeprecationWarning)
            tree: Node = jmespath.compile(text).parsed
    except RecursionError:
        raise ExpressionError("is nested too deeply") from None
    except (JMESPathError, PendingDeprecationWarning) as error:
        raise ExpressionError(f"is not a JMESPath expression: {_reason(error)}") from None
    for node in _nodes(tree):
        name = node["value"] if node["type"] == "function_expression" else "type"
        if name not in Functions.FUNCTION_TABLE:
            raise ExpressionError(f"JMESPath has no function {quote(name)}{hint(name, Functions.FUNCTION_TABLE)}")
    return tree


def _reason(error: Exception) -> str:
    match error:
        case EmptyExpressionError() | IncompleteExpressionError() | ParseError(token_value=""):
            return "it ends too early"
        case LexerError():
            return f"{quote(str(error.token_value))} at character {error.lex_position + 1} is no part of the language"
        case ParseError():
            return f"{quote(str(error.token_value))} at character {error.lex_position + 1} is not expected there"
        case _:
            return "what stands between backticks must be JSON"


def _nodes(tree: Node) -> Iterator[Node]:
    todo = [(tree, 1)]
    while todo:
        node, depth = todo.pop()
        if depth > DEEPEST:
            raise ExpressionError("is nested too deeply")
        yield node
        todo.extend((child, depth + 1) for child in _children(node))


def _children(node: Node) -> list[Node]:
    return [child for child in node["children"] if isinstance(child, Mapping)]


def starts(node: Node) -> Iterator[tuple[str, str | None]]:
    """The names that an expression looks up in what it is given, each with the name taken from that, if plain.

    `inputs.ref` starts from `('inputs', 'ref')`, `length(lint)` from `('lint', None)`.
    """
    children = _children(node)
    match node["type"]:
        case "field":
            yield node["value"], None
        case "subexpression" if children[0]["type"] == "current":
            yield from starts(children[1])
        case "subexpression" if children[0]["type"] == "field":
            second = children[1]
            yield children[0]["value"], second["value"] if second["type"] == "field" else None
        case "subexpression" | "index_expression" | "projection" | "value_projection" | "filter_projection" | "pipe":
            # What stands on the right looks at what the left gives.
            yield from starts(children[0])
        case "expref":
            pass
        case _:
            for child in children:
                yield from starts(child)


def evaluate(text: str, values: Mapping[str, Any]) -> Any:
    """What an expression gives: plain JSON, null for what is not there."""
    try:
        result = jmespath.compile(text).search(values)
        encode(result).encode()
    except RecursionError:
        raise ExpressionError(f"{quote(text)} is nested too deeply") from None
    # JMESPath checks types, but not everything: to_number('1e999') is infinite, and has no ceiling.
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        raise ExpressionError(f"{quote(text)} fails: {' '.join(str(error).split())}") from None
    return result
