"""One ring of events, many feeds. Publishing never waits, so that a change and its announcement cannot be parted.

A feed that falls behind what the ring keeps gets one `MonitorLost` with the number it missed, and goes on with the
oldest event that is left; none can slow the publisher or another feed. A `whole` feed pins what it has not read:
it misses nothing, and costs memory while it is slow (the command line's own output; never a remote client).

Cancellation: `Feed.receive` cancelled has taken nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from warmlane.events import BlockLog, Envelope, Event, MonitorLost

KEEP_EVENTS = 10_000
KEEP_LOG_CHARACTERS = 64 * 1024 * 1024


def _weight(envelope: Envelope) -> int:
    return len(envelope.event.text) if isinstance(envelope.event, BlockLog) else 0


class Bus:
    """The ring. `clock` gives seconds since the epoch; a simulated session gives its own."""

    def __init__(self, *, clock: Callable[[], float] = time.time, keep: int = KEEP_EVENTS) -> None:
        self.clock = clock
        self._keep = keep
        self._ring: deque[Envelope] = deque()
        self._log_characters = 0
        self._feeds: set[Feed] = set()
        self._news = trio.lowlevel.ParkingLot()
        self._seq = 0
        self._closed = False

    @property
    def seq(self) -> int:
        """The number of the newest event; 0 before the first."""
        return self._seq

    def publish(self, event: Event, execution_id: str | None = None) -> Envelope:
        """Numbers the event, keeps it, and wakes the feeds. Synchronous."""
        self._seq += 1
        envelope = Envelope(seq=self._seq, at=self.clock(), execution_id=execution_id, event=event)
        self._ring.append(envelope)
        self._log_characters += _weight(envelope)
        self._trim()
        self._news.unpark_all()
        return envelope

    def close(self) -> None:
        """No more events; each feed ends when it has read what is left."""
        self._closed = True
        self._news.unpark_all()

    @contextmanager
    def feed(self, *, after: int | None = None, whole: bool = False) -> Iterator[Feed]:
        """A reader of its own. It begins behind event number `after`, or with the next event to come."""
        feed = Feed(self, self._seq if after is None else min(max(after, 0), self._seq), whole)
        self._feeds.add(feed)
        try:
            yield feed
        finally:
            self._feeds.discard(feed)
            self._trim()

    def _trim(self) -> None:
        pinned = min((feed.position for feed in self._feeds if feed.whole), default=self._seq)
        while self._ring and self._ring[0].seq <= pinned and self._too_much():
            self._log_characters -= _weight(self._ring.popleft())

    def _too_much(self) -> bool:
        return len(self._ring) > self._keep or self._log_characters > KEEP_LOG_CHARACTERS


class Feed:
    """One reader's place in the ring; made by `Bus.feed`. Iterate over it, or call `receive`."""

    def __init__(self, bus: Bus, position: int, whole: bool) -> None:
        self._bus = bus
        self.position = position
        self.whole = whole

    @property
    def behind(self) -> int:
        """How many events are out that this feed has not read."""
        return self._bus.seq - self.position

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> Envelope:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def receive(self) -> Envelope:
        """The next event, or a `MonitorLost`. Raises trio.EndOfChannel when the bus is closed and all is read."""
        await trio.lowlevel.checkpoint()
        while (envelope := self.receive_nowait()) is None:
            if self._bus._closed:
                raise trio.EndOfChannel
            await self._bus._news.park()
        return envelope

    def receive_nowait(self) -> Envelope | None:
        """The next event if there is one, without waiting."""
        ring = self._bus._ring
        if self.position >= self._bus._seq:
            return None
        oldest = ring[0].seq if ring else self._bus._seq + 1
        missed = oldest - self.position - 1
        if missed > 0:
            self.position += missed
            return Envelope(seq=self.position, at=self._bus.clock(), execution_id=None, event=MonitorLost(count=missed))
        self.position += 1
        return ring[self.position - oldest]
