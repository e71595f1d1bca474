"""The standard output of the commands that print for themselves (`run` has an outlet): what breaks it is one error.

Light enough for `--help`. Once broken, it takes whatever else is printed, and drops it: an interpreter that could not
empty its buffers at its end would complain, and end with a code of its own.
"""

from __future__ import annotations

import errno
import io
import os
from typing import Any, TextIO

_FD = 1


class StdoutError(Exception):
    """Stdout cannot be written to. `gone`: its reader has left."""

    def __init__(self, cause: OSError) -> None:
        self.gone = is_gone(cause)
        super().__init__(f"cannot write to stdout: {cause.strerror}")


def open_stdout(encoding: str) -> TextIO:
    """File descriptor 1 as a text stream that raises StdoutError."""
    raw = _Raw(_FD, "wb", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=raw.isatty())


def is_gone(error: OSError) -> bool:
    """Whether the reader has left (`| head`, a closed terminal), which is nothing to complain about."""
    return error.errno in (errno.EPIPE, errno.ECONNRESET, errno.EIO)


class _Raw(io.FileIO):
    def write(self, data: Any, /) -> int | None:  # type: ignore[override]  # None: it would block
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, _FD)
            os.close(nowhere)
            raise StdoutError(error) from error
