"""What ends a run before its time: SIGINT, SIGTERM, SIGHUP, and a stdout that cannot be written to.

The first cause aborts the execution and takes the common way of every cancellation; a second signal cuts the grace.
All but `watch` is synchronous, so that no cause can come between two steps of handling another.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable

import trio

from warmlane.engine import Execution
from warmlane.session import Session

_UNLESS_IGNORED = (signal.SIGINT, signal.SIGHUP)
"""Whoever started us may want them ignored: `nohup`, a shell for the background jobs of a script."""
_PATIENCE = (math.inf, 5.0, 0.5)
"""Seconds that a slow reader of our last output gets after no signal, one, and more."""


class Stopping:
    """The wish to stop, and what it is to reach: the session being opened, an execution, or the last output."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.opening = trio.CancelScope()
        """The scope to open the session in; from then on `session` and `execution` are what is stopped."""
        self.session: Session | None = None
        self.execution: Execution | None = None
        self.wished = False
        """Whether nothing new is to begin."""
        self._tell = tell
        self._signals = 0
        self._flushing: list[trio.CancelScope] = []
        self._flush_until = math.inf

    def stop(self) -> None:
        """Ends what runs, and lets nothing new begin. Any number of times."""
        self.wished = True
        if self.session is None:
            self.opening.cancel()
        elif self.execution is not None:
            self.execution.abort()

    def flushing(self) -> trio.CancelScope:
        """A scope to wait in for the last output to be read: without end until somebody signals."""
        if not self._flushing:
            self._limit_flushing()
        self._flushing.append(trio.CancelScope(deadline=self._flush_until))
        return self._flushing[-1]

    async def watch(self, task_status: trio.TaskStatus[None]) -> None:
        """Listens for signals until cancelled."""
        heeded = [number for number in _UNLESS_IGNORED if signal.getsignal(number) != signal.SIG_IGN]
        with trio.open_signal_receiver(signal.SIGTERM, *heeded) as signals:
            task_status.started()
            async for number in signals:
                self._on_signal(signal.Signals(number).name)

    def _on_signal(self, name: str) -> None:
        self._signals += 1
        if self._signals == 1:
            self._tell(f"{name}: ending the run and removing its containers; once more to kill at once")
            self.stop()
        else:
            self._tell(f"{name}: killing what is left")
            if self.session is not None:
                self.session.hurry()
        if self._flushing:
            self._limit_flushing()

    def _limit_flushing(self) -> None:
        patience = _PATIENCE[min(self._signals, len(_PATIENCE) - 1)]
        self._flush_until = min(self._flush_until, trio.current_time() + patience)
        for scope in self._flushing:
            scope.deadline = self._flush_until
