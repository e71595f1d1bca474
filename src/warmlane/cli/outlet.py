"""One of the process's output streams, written without ever blocking the loop.

`put` is synchronous and keeps what it is given; `pump`, one task for each outlet, writes it from a thread. A reader
that has stopped reading therefore blocks neither signals nor clean-up. `room` is the back-pressure: whoever produces
much awaits it between puts.

Cancellation: a cancelled `pump` leaves its thread in a write that may never end; that is the only thread that we
abandon, and only the end of the process comes after it.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

import trio

_CHUNK = 64 * 1024
_ENOUGH = 1024 * 1024


class Outlet:
    """A file descriptor to print on. `on_broken` hears, once, that it cannot be written to any more."""

    def __init__(self, fd: int, on_broken: Callable[[OSError], None] = lambda error: None) -> None:
        self._fd = fd
        self._on_broken = on_broken
        self._broken = False
        self._waiting = bytearray()
        self._changed = trio.lowlevel.ParkingLot()
        self._limiter = trio.CapacityLimiter(1)

    @property
    def idle(self) -> bool:
        """Whether all that was put has been written, or never will be."""
        return not self._waiting

    def put(self, text: str) -> None:
        """Prints `text` as soon as the stream takes it. What UTF-8 cannot say appears as `\\udcNN`."""
        if not self._broken:
            self._waiting += text.encode("utf-8", "backslashreplace")
            self._changed.unpark_all()

    async def room(self) -> None:
        """Waits until little is waiting to be written."""
        await trio.lowlevel.checkpoint()
        while len(self._waiting) > _ENOUGH:
            await self._changed.park()

    async def flush(self) -> None:
        """Waits until everything is written. How long is for the caller's scope to say."""
        await trio.lowlevel.checkpoint()
        while self._waiting:
            await self._changed.park()

    async def pump(self) -> None:
        """Writes until cancelled or broken."""
        while not self._broken:
            while not self._waiting:
                await self._changed.park()
            chunk = bytes(self._waiting[:_CHUNK])
            try:
                written = await trio.to_thread.run_sync(
                    _write, self._fd, chunk, abandon_on_cancel=True, limiter=self._limiter
                )
            except OSError as error:
                self._broken = True
                self._waiting.clear()
                self._on_broken(error)
            else:
                del self._waiting[:written]
            self._changed.unpark_all()


def _write(fd: int, data: bytes) -> int:
    while True:
        try:
            return os.write(fd, data)
        except BlockingIOError:  # whoever gave us the stream had it in non-blocking mode
            select.select([], [fd], [])
