"""What the process ends with: the exit codes, and which error means which."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from warmlane.errors import MonitorAddressError, PlanError, RuntimeUnavailableError, WarmlaneError

COMPLETED = 0
FAILED = 1
USAGE = 2
ABORTED = 3
NO_RUNTIME = 5
BUG = 70

_BY_GRAVITY = (BUG, NO_RUNTIME, USAGE, FAILED, ABORTED, COMPLETED)
_OF_STATUS = {"completed": COMPLETED, "failed": FAILED, "aborted": ABORTED}


def code_of_status(status: str) -> int:
    """The code of a run that ended as `completed`, `failed` or `aborted`."""
    return _OF_STATUS[status]


def gravest(codes: Iterable[int]) -> int:
    """The one code for all of these: what went wrong counts before what was aborted."""
    return min(codes, key=_BY_GRAVITY.index)


def code_of_error(error: WarmlaneError) -> int:
    """The code of an error that ended the command."""
    if isinstance(error, PlanError | MonitorAddressError):
        return USAGE
    return NO_RUNTIME if isinstance(error, RuntimeUnavailableError) else FAILED


def sentence(error: WarmlaneError) -> str:
    """The error and what to do about it. A bad plan has one line for each problem, if there are several."""
    if isinstance(error, PlanError) and len(error.problems) > 1:
        return "\n  ".join([error.begin(), *map(str, error.problems)])
    return str(error)


def sentence_of_run(error: WarmlaneError) -> str:
    """The sentence to those who wanted to run something, which works without Docker, too."""
    without = isinstance(error, RuntimeUnavailableError) and error.runtime == "docker"
    return sentence(error) + (", or use '--runtime process'" if without else "")


def innermost(error: BaseException) -> BaseException:
    """The error itself, or the one that is alone in it if it is a group of groups of one."""
    is_group = isinstance(error, BaseExceptionGroup)
    members = cast("BaseExceptionGroup[BaseException]", error).exceptions if is_group else ()
    return innermost(members[0]) if len(members) == 1 else error
