"""SIGINT, SIGTERM and SIGHUP end a tool, but only where it waits, and never between making a thing and noting it
down.

`ended_by_signals()` stands around all that the tool does, `interruptible()` around the waits in it: there, a signal
that comes or has come raises SystemExit with 128 and the signal's number. It does so once; cleaning up is not
disturbed. Without `ended_by_signals()`, `interruptible()` does nothing. Main thread only.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class _State:
    came: int | None = None
    raised: bool = False
    waiting: bool = False

    def leave_if_asked(self) -> None:
        if self.came is not None and self.waiting and not self.raised:
            self.raised = True
            raise SystemExit(128 + self.came)


_state = _State()


def _note(number: int, _frame: FrameType | None) -> None:
    _state.came = _state.came or number
    _state.leave_if_asked()


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Take the signals for the length of the block."""
    _state.came, _state.raised, _state.waiting = None, False, False
    before = {number: signal.signal(number, _note) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a signal end the block. It should only wait, for what it has begun may be lost."""
    before, _state.waiting = _state.waiting, True
    try:
        _state.leave_if_asked()
        yield
    finally:
        _state.waiting = before
