"""Warnings that are logged, ours and our libraries', become notices: safe for a terminal, never blocking the loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

import trio


@contextmanager
def relay_warnings(tell: Callable[[str], None]) -> Generator[None]:
    """While the context is open, every warning of any thread is told, in the loop's own thread."""
    handler = _Relay(tell)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _Relay(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell
        self._token = trio.lowlevel.current_trio_token()

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._tell, self.format(record))
