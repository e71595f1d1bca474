"""The words and numbers of a plan: what each may look like, said once for the reader and for the JSON Schema.

A `Rule` rides on a type (`Annotated[str, Rule(...)]`). Its `schema` holds JSON Schema keywords, and `holds` judges a
value by the same keywords, so that the two cannot drift apart. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from attrs import frozen

LONGEST_WAIT_MS = 30 * 24 * 3600 * 1000
"""30 days. A longer time-out is a slip of the hand, and a far longer one overflows a clock."""


@frozen(eq=False)
class Rule:
    """What a value of the right kind must still keep; `says` completes the sentence that begins with its path."""

    says: str
    schema: Mapping[str, Any]

    def holds(self, value: Any) -> bool:
        """Does `value`, of the kind that the rule is for, keep it?"""
        return all(_holds(keyword, bound, value) for keyword, bound in self.schema.items())


def _holds(keyword: str, bound: Any, value: Any) -> Any:
    match keyword:
        case "pattern":
            return re.fullmatch(bound, value) is not None
        case "minimum":
            return value >= bound
        case "exclusiveMinimum":
            return value > bound
        case "maximum":
            return value <= bound
        case "minItems" | "minProperties":
            return len(value) >= bound
        case "maxLength" | "maxProperties":
            return len(value) <= bound
        case _:
            raise ValueError(f"no test for the keyword {keyword}")


def _word(says: str, pattern: str) -> Rule:
    return Rule(says, {"pattern": f"^{pattern}$"})


PlanName = Annotated[
    str,
    _word("must be 1 to 200 characters without line breaks or control characters", r"[^\u0000-\u001f\u007f]{1,200}"),
]
BlockId = Annotated[
    str,
    _word(
        "a block id is 1 to 64 letters, digits, '_', '-' or '.', not beginning with '-' or '.', and is not 'inputs'",
        r"(?!inputs$)[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}",
    ),
]
InputName = Annotated[
    str,
    _word(
        "an input's name is 1 to 64 letters, digits or '_', and does not begin with a digit",
        r"[A-Za-z_][A-Za-z0-9_]{0,63}",
    ),
]
EnvName = Annotated[
    str,
    _word(
        "a variable's name is letters, digits or '_', does not begin with a digit, and not with 'WARMLANE_'",
        r"(?!WARMLANE_)[A-Za-z_][A-Za-z0-9_]*",
    ),
]
Text = Annotated[str, _word("must not hold a NUL character", r"[^\u0000]*")]
Argument = Annotated[
    str,
    Rule(
        "must be shorter than 128 KiB and not hold a NUL character",  # the kernel's MAX_ARG_STRLEN
        {"pattern": r"^[^\u0000]*$", "maxLength": 131_071},
    ),
]
FolderPath = Annotated[
    str, _word("must be the path of a folder, 1 to 4096 characters without NUL", r"[^\u0000]{1,4096}")
]
ImageName = Annotated[str, _word("must be the name of an image, without whitespace", r"[!-~]{1,512}")]
UserName = Annotated[
    str,
    _word(
        "must be a user: a name or number, or 'user:group'",
        r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?",
    ),
]
FunctionName = Annotated[
    str,
    _word(
        "must be 'module:function', such as 'checks:report' or 'tools.checks:report'",
        r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*",
    ),
]
Method = Annotated[str, _word("must be an HTTP method in capitals, such as GET or POST", r"[A-Z]{1,20}")]
UrlPath = Annotated[str, _word("must be a path that begins with '/', percent-encoded where needed", r"/[!-~]*")]
HeaderName = Annotated[str, _word("must be the name of an HTTP header", r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")]
HeaderValue = Annotated[str, _word("must be printable ASCII on one line", r"[\u0020-\u007e]*")]
Expression = Annotated[
    str,
    Rule("must be a JMESPath expression of at most 1000 characters", {"pattern": r"^[^\u0000]+$", "maxLength": 1000}),
]
Port = Annotated[int, Rule("must be a port, 1 to 65535", {"minimum": 1, "maximum": 65_535})]
Count = Annotated[int, Rule("must be from 1 to 1000", {"minimum": 1, "maximum": 1000})]
Deadline = Annotated[
    float, Rule("must be more than 0 and at most 30 days", {"exclusiveMinimum": 0, "maximum": LONGEST_WAIT_MS})
]
Wait = Annotated[float, Rule("must be from 0 to 30 days", {"minimum": 0, "maximum": LONGEST_WAIT_MS})]
"""Rules of durations are about what the document says, in milliseconds."""

AT_MOST_500 = Rule("must not have more than 500 entries", {"maxProperties": 500})
NOT_EMPTY_LIST = Rule("must not be empty", {"minItems": 1})
NOT_EMPTY_OBJECT = Rule("must not be empty", {"minProperties": 1})
