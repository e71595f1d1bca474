"""A session that is only a bus, and a monitor of it on a real port, on the real clock, as sockets are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from urllib.parse import urlsplit

import pytest
import trio
from attrs import frozen
from trio_websocket import WebSocketConnection, wrap_client_stream

from warmlane.bus import Bus, Feed
from warmlane.events import PoolStatus
from warmlane.monitor.door import SUBPROTOCOL
from warmlane.monitor.limits import Limits
from warmlane.monitor.server import Monitor, serve_monitor
from warmlane.records import ContainerRecord, PoolStats

CONTAINER = ContainerRecord(
    id="c1", name="wl-c1", state="dormant", phase="dormant", image="img:1", created_at=1.0, since=2.0, uses=3
)


@frozen
class BusSession:
    """What a monitor sees of a session. The pool's revision is the number of the newest event."""

    bus: Bus
    id: str = "s-1"
    runtime: str = "fake"

    def events(self, *, after: int | None = None) -> AbstractContextManager[Feed]:
        return self.bus.feed(after=after)

    def pool_status(self) -> PoolStatus:
        return PoolStatus(
            revision=self.bus.seq,
            containers=(CONTAINER,),
            counts={"dormant": 1},
            max_containers=10,
            waiting=0,
            stats=PoolStats(wake=1, ready_share=0.0),
        )


@pytest.fixture
def serve() -> Callable[..., AbstractAsyncContextManager[Monitor]]:
    """`serve(bus, **limits)`: a monitor of a session that is this bus. No test may take longer than 20 s in it."""

    @asynccontextmanager
    async def serve(bus: Bus, session_id: str = "s-1", port: int = 0, **limits: float) -> AsyncGenerator[Monitor]:
        with trio.fail_after(20):
            session = BusSession(bus, session_id)
            async with serve_monitor(session, port=port, limits=Limits(**limits)) as monitor:  # type: ignore[arg-type]  # ints among the floats
                yield monitor

    return serve


@pytest.fixture
def connect() -> Callable[[str], AbstractAsyncContextManager[WebSocketConnection]]:
    """`connect(url)`: a well-behaved watcher. It owns the stream, as the library leaves one open that we close."""

    @asynccontextmanager
    async def connect(url: str) -> AsyncGenerator[WebSocketConnection]:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        async with await trio.open_tcp_stream(parts.hostname, parts.port) as stream, trio.open_nursery() as nursery:
            resource = f"{parts.path}?{parts.query}" if parts.query else parts.path
            socket = await wrap_client_stream(nursery, stream, parts.netloc, resource, subprotocols=[SUBPROTOCOL])
            try:
                yield socket
            finally:
                with trio.move_on_after(5):
                    await socket.aclose()
                nursery.cancel_scope.cancel()

    return connect
