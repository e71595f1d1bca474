"""Python blocks: importing a module as an ordinary program would, and calling a function of it."""

from __future__ import annotations

import contextlib
import json
import os
import sys

from .output import encode, problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ERROR_LIMIT = 4000
CO_VARARGS, CO_COROUTINE, CO_ASYNC_GENERATOR = 0x04, 0x80, 0x200  # as in inspect


class UnfitError(Exception):
    """The target is not a function that can be called: a sentence, and no traceback."""


def load(module: str, workspace: str | None) -> None:
    """Imports a module, in a process that becomes an ordinary Python program for it. Raises what the import does."""
    if module in sys.modules:
        return  # a zygote has done it
    import types

    if "site" not in sys.modules:
        import site

        site.main()
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.argv = [module]
    sys.dont_write_bytecode = True  # the workspace is not ours
    extra = [workspace] if workspace else []
    sys.path[:0] = extra + [entry for entry in os.environ.get("PYTHONPATH", "").split(":") if entry]
    __import__(module)


def run(
    target: str,
    data: bytes,
    workspace: str | None,
    verdict: Callable[[str, str], None],
    output: Callable[[bytes], None],
) -> int:
    """Runs `module:function` to its end, and returns the exit code. None is no output."""
    try:
        load(target.partition(":")[0], workspace)
        value = _call(target, data)
        code = 0 if value is None else _hand_in(value, verdict, output)
    except UnfitError as error:
        verdict("error", str(error))
        code = 1
    except SystemExit as stop:
        code = stop.code & 0xFF if isinstance(stop.code, int) else int(stop.code is not None)
        if code and not isinstance(stop.code, int):
            sys.stderr.write(f"{stop.code}\n")
    except BaseException as error:  # noqa: BLE001 - the block's own, of whatever kind: it is reported
        verdict("error", _report(error))
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or a stream of the block's own making
            stream.flush()
    return code


def _call(target: str, data: bytes) -> Any:
    module, _, path = target.partition(":")
    function: Any = sys.modules[module]
    for name in path.split("."):
        if not hasattr(function, name):
            raise UnfitError(f"module '{module}' has no function '{path}'")
        function = getattr(function, name)
    if not callable(function):
        raise UnfitError(f"'{target}' is not a function")
    code = function.__code__ if type(function) is type(_call) else None
    if code and code.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR):
        raise UnfitError(f"'{target}' is a coroutine function; give a plain one that runs it")
    if code and not hasattr(function, "__wrapped__"):
        takes = code.co_argcount > 0 or code.co_flags & CO_VARARGS
    else:
        takes = _takes_input(function)
    return function(json.loads(data)) if takes else function()


def _takes_input(function: Any) -> bool:
    """For what is no plain function: it takes time to import what can tell."""
    import inspect

    with contextlib.suppress(ValueError, TypeError):  # some builtins do not
        kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
        return any(kind in (kind.POSITIONAL_ONLY, kind.POSITIONAL_OR_KEYWORD, kind.VAR_POSITIONAL) for kind in kinds)
    return True


def _hand_in(value: Any, verdict: Callable[[str, str], None], output: Callable[[bytes], None]) -> int:
    try:
        encoded = encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        verdict("bad-output", problem(error))
    else:
        output(encoded)
    return 0


def _report(error: BaseException) -> str:
    """Prints the traceback, without our own frames, and returns its last line."""
    import traceback

    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)
    told = traceback.format_exception_only(type(error), error)
    line = next((entry for entry in told if entry[:1] != " "), told[-1])  # notes may follow it
    return " ".join(line.split())[:ERROR_LIMIT]
