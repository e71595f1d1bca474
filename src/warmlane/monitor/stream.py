"""The two ways in which a watcher's connection differs from a plain stream: it can begin with bytes that were already
read, and it has no patience with a peer that takes nothing.

Cancellation: as with any stream, a `send_all` that was cancelled leaves it fit for nothing but closing.
"""

from __future__ import annotations

from typing import Final

import trio

PIECE: Final = 64 * 1024
"""Bytes that a peer must take within one grace; so a large message to a slow reader is no reason to drop it."""

_LAST_WORDS: Final = 1024 * 1024


class PatientStream(trio.abc.Stream):
    """A stream that first gives `seen` again, and is broken as soon as the peer takes nothing for `grace` seconds."""

    def __init__(self, stream: trio.abc.Stream, seen: bytes, *, grace: float) -> None:
        self._stream = stream
        self._seen = seen
        self._grace = grace

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What was seen before, then what comes."""
        if not self._seen:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        piece, self._seen = self._seen[:max_bytes], self._seen[max_bytes:] if max_bytes else b""
        return piece

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends in pieces. Raises trio.BrokenResourceError, with the stream closed, if one is not taken in time."""
        view = memoryview(data)
        for start in range(0, len(view), PIECE) or (0,):
            with trio.move_on_after(self._grace) as patience:
                await self._stream.send_all(view[start : start + PIECE])
            if patience.cancelled_caught:
                await trio.aclose_forcefully(self._stream)
                raise trio.BrokenResourceError(f"the peer took nothing for {self._grace:g} s")

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream below."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As the stream below."""
        await self._stream.aclose()


async def let_read(stream: trio.abc.HalfCloseableStream) -> None:
    """Ends our side, and waits until the peer has ended its own. Closing with bytes of the peer unread would reset the
    connection, and our last words with it. The caller bounds the wait; the bytes are bounded here."""
    try:
        await stream.send_eof()
        read = 0
        while read < _LAST_WORDS and (data := await stream.receive_some()):
            read += len(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return
