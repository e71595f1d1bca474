"""A block's output, and what its process leaves for its supervisor: reading it from a directory that strangers had,
and saying what is wrong with it."""

from __future__ import annotations

import contextlib
import json
import os
import stat

from .files import read_all, size_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    Ended = tuple[str | None, str | None, bytes]  # fault, error, output as JSON

_VERDICT_LIMIT = 1 << 20


def encode(value: Any) -> bytes:
    """A value as JSON that anybody can read. Raises TypeError, ValueError or RecursionError; see `problem`."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def problem(error: BaseException) -> str:
    """What is wrong with an output that could not be encoded or decoded."""
    if isinstance(error, RecursionError):
        said = "nested too deeply"
    elif isinstance(error, UnicodeError):
        said = "not valid UTF-8"
    else:
        said = str(error)
    return f"its output is not JSON: {said}"


def too_large(size: int, limit: int) -> str:
    return f"its output is too large: {size} bytes, the limit is {size_words(limit)}"


def read_output(folder: int, limit: int) -> Ended:
    """What of output.json in that directory is to be said of a block that ended well otherwise."""
    try:
        found = _read(folder, "output.json", limit + 1)
        if found is None:
            return None, None, b"null"
        data, size = found
        if max(size, len(data)) > limit:
            return "bad-output", too_large(size, limit), b"null"
        encode(json.loads(data.decode(), parse_constant=_refuse))  # what cannot be said again is found here
    except (ValueError, RecursionError) as error:
        return "bad-output", problem(error), b"null"
    return None, None, data.replace(b"\n", b" ").replace(b"\r", b" ")


def read_verdict(folder: int) -> tuple[str, str] | None:
    """Fault and error of verdict.json, which the block's process writes when it knows better than its exit code."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        found = _read(folder, "verdict.json", _VERDICT_LIMIT)
        if found:
            verdict = json.loads(found[0])
            return str(verdict["fault"]), str(verdict["error"])
    return None


def _read(folder: int, name: str, limit: int) -> tuple[bytes, int] | None:
    """The beginning and the size of a regular file. Raises ValueError if it is something else."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"the file cannot be read ({error.strerror})") from None
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("not a regular file")
        return read_all(fd, limit), about.st_size
    except OSError as error:
        raise ValueError(f"the file cannot be read ({error.strerror})") from None
    finally:
        os.close(fd)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")
