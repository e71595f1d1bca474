"""One watcher: what it is told, from its hello to its goodbye.

It hears `monitor:hello` first, whose `seq` says where its sequence begins, and then every event behind that number, in
order. The newest number that it saw is what it asks for (`?after=`) when it comes back. If the ring no longer has what
comes next, it hears `monitor:lost` and the pool as it is now, and goes on from there.

It may only look: whatever it sends, but for pings, pongs and a close, is answered by closing with 1008. The end of the
session, and of the monitor, is 1001, after all events that were published before it.

Three tasks, and one of them alone, `run`, closes: `_hear` notices that the peer is gone, `_beat` that it is dead. A
peer that does not read is the stream's affair (`stream.py`). All end with the nursery that the server opened for them.
"""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, suppress
from typing import Final, Protocol

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from warmlane._version import __version__
from warmlane.bus import Feed
from warmlane.events import Envelope, Event, MonitorHello, MonitorLost, PoolStatus
from warmlane.monitor.limits import Limits

GOING_AWAY: Final = 1001
_MAY_ONLY_LOOK: Final = 1008


class Watched(Protocol):
    """What the monitor needs of a session."""

    @property
    def id(self) -> str:
        """The session's name."""
        ...

    @property
    def runtime(self) -> str:
        """The kind of its runtime."""
        ...

    def pool_status(self) -> PoolStatus:
        """The pool as it is now."""
        ...

    def events(self, *, after: int | None = None) -> AbstractContextManager[Feed]:
        """A feed of its events, behind number `after` or from now on."""
        ...


class Watcher:
    """One connection that has been accepted. `run` it in a nursery of its own."""

    def __init__(self, socket: WebSocketConnection, session: Watched, feed: Feed, limits: Limits) -> None:
        self._socket = socket
        self._session = session
        self._feed = feed
        self._limits = limits
        self._waiting = trio.CancelScope()
        self._goodbye: tuple[int, str] | None = None
        self._last = math.inf
        self._closing = False

    def dismiss(self, code: int, reason: str) -> None:
        """Makes `run` say goodbye; with 1001 after all that was published until now, else at once. Synchronous."""
        if self._goodbye is None:
            self._goodbye = (code, reason)
            self._last = self._feed.position + self._feed.behind if code == GOING_AWAY else 0
            self._waiting.cancel()

    async def run(self, nursery: trio.Nursery) -> None:
        """Tells it everything until the session ends, or it is dismissed, or gone; then ends the nursery."""
        nursery.start_soon(self._hear, nursery.cancel_scope)
        nursery.start_soon(self._beat)
        try:
            await self._tell()
        except ConnectionClosed:
            return  # `_hear` is told the same, and ends the nursery
        self._closing = True
        with trio.move_on_after(self._limits.close):
            await self._socket.aclose(*(self._goodbye or (GOING_AWAY, "the session has ended")))
        nursery.cancel_scope.cancel()

    async def _tell(self) -> None:
        hello = MonitorHello(
            session_id=self._session.id,
            runtime=self._session.runtime,
            version=__version__,
            pool=self._session.pool_status(),
        )
        await self._say(hello)
        begun = False
        while (envelope := await self._next()) is not None:
            if isinstance(envelope.event, MonitorLost):
                await self._catch_up(envelope.event.count, lapped=begun)
            else:
                await self._socket.send_message(envelope.json)
            begun = True

    async def _next(self) -> Envelope | None:
        """The next event, or a `MonitorLost`; None when there will be no more for this watcher."""
        if self._goodbye is None and not self._feed.behind:
            with trio.CancelScope() as self._waiting, suppress(trio.EndOfChannel):
                return await self._feed.receive()
        return self._feed.receive_nowait() if self._feed.position < self._last else None

    async def _catch_up(self, count: int, *, lapped: bool) -> None:
        """Says how many it missed, and how the pool is now. One that was lapped while it read would be lapped again by
        the next event; so it is taken to the middle of what is left, and has half a ring's time."""
        skipped = self._feed.behind // 2 if lapped else 0
        self._feed.position += skipped
        await self._say(MonitorLost(count=count + skipped))
        await self._say(self._session.pool_status())

    async def _say(self, event: Event) -> None:
        """What only this watcher is told; its number is that of the last event behind it."""
        envelope = Envelope(seq=self._feed.position, at=time.time(), execution_id=None, event=event)
        await self._socket.send_message(envelope.json)

    async def _hear(self, scope: trio.CancelScope) -> None:
        """Without a reader, pongs and the peer's close would go unnoticed."""
        try:
            while True:
                await self._socket.get_message()
                self.dismiss(_MAY_ONLY_LOOK, "a monitor may only look")
        except ConnectionClosed:
            if not self._closing:
                scope.cancel()

    async def _beat(self) -> None:
        """Raises trio.TooSlowError if the peer does not answer."""
        with suppress(ConnectionClosed):
            while True:
                await trio.sleep(self._limits.heartbeat)
                with trio.fail_after(self._limits.pong):
                    await self._socket.ping()
