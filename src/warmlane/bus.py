"""One ring of events, many feeds. Publishing never waits, so that a change and its announcement cannot be parted.

A feed that falls behind what the ring keeps gets one `MonitorLost` with the number it missed, and goes on with the
oldest event that is left; none can slow the publisher or another feed. A `whole` feed pins what it has not read:
it misses nothing, and costs memory while it is slow (the command line's own output; never a remote client).

Cancellation: `Feed.receive` cancelled has taken nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager

import trio
from attrs import define, field

from warmlane.events import BlockLog, Envelope, Event, MonitorLost

KEEP_EVENTS = 10_000
KEEP_LOG_CHARACTERS = 64 * 1024 * 1024


def _weight(envelope: Envelope) -> int:
    return len(envelope.event.text) if isinstance(envelope.event, BlockLog) else 0


@define
class _Ring:
    """What the bus and its feeds share. `seq` is the number of the newest event."""

    clock: Callable[[], float]
    events: deque[Envelope] = field(factory=deque[Envelope])
    seq: int = 0
    closed: bool = False
    news: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)


class Bus:
    """The ring. `clock` gives seconds since the epoch; a simulated session gives its own."""

    def __init__(self, *, clock: Callable[[], float] = time.time, keep: int = KEEP_EVENTS) -> None:
        self.clock = clock
        self._keep = keep
        self._ring = _Ring(clock)
        self._log_characters = 0
        self._feeds: set[Feed] = set()

    @property
    def seq(self) -> int:
        """The number of the newest event; 0 before the first."""
        return self._ring.seq

    def publish(self, event: Event, execution_id: str | None = None) -> Envelope:
        """Numbers the event, keeps it, and wakes the feeds. Synchronous."""
        self._ring.seq += 1
        envelope = Envelope(seq=self._ring.seq, at=self.clock(), execution_id=execution_id, event=event)
        self._ring.events.append(envelope)
        self._log_characters += _weight(envelope)
        self._trim()
        self._ring.news.unpark_all()
        return envelope

    def close(self) -> None:
        """No more events; each feed ends when it has read what is left."""
        self._ring.closed = True
        self._ring.news.unpark_all()

    @contextmanager
    def feed(self, *, after: int | None = None, whole: bool = False) -> Generator[Feed]:
        """A reader of its own. It begins behind event number `after`, or with the next event to come."""
        feed = Feed(self._ring, self.seq if after is None else min(max(after, 0), self.seq), whole)
        self._feeds.add(feed)
        try:
            yield feed
        finally:
            self._feeds.discard(feed)
            self._trim()

    def _trim(self) -> None:
        events = self._ring.events
        pinned = min((feed.position for feed in self._feeds if feed.whole), default=self.seq)
        while events and events[0].seq <= pinned and self._too_much():
            self._log_characters -= _weight(events.popleft())

    def _too_much(self) -> bool:
        return len(self._ring.events) > self._keep or self._log_characters > KEEP_LOG_CHARACTERS


class Feed:
    """One reader's place in the ring; made by `Bus.feed`. Iterate over it, or call `receive`."""

    def __init__(self, ring: _Ring, position: int, whole: bool) -> None:
        self._ring = ring
        self.position = position
        self.whole = whole

    @property
    def behind(self) -> int:
        """How many events are out that this feed has not read."""
        return self._ring.seq - self.position

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
            if self._ring.closed:
                raise trio.EndOfChannel
            await self._ring.news.park()
        return envelope

    def receive_nowait(self) -> Envelope | None:
        """The next event if there is one, without waiting."""
        events = self._ring.events
        if self.position >= self._ring.seq:
            return None
        oldest = events[0].seq if events else self._ring.seq + 1
        missed = oldest - self.position - 1
        if missed > 0:
            self.position += missed
            lost = MonitorLost(count=missed)
            return Envelope(seq=self.position, at=self._ring.clock(), execution_id=None, event=lost)
        self.position += 1
        return events[self.position - oldest]
