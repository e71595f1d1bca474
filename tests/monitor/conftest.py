"""A session that is only a bus, and a monitor of it on a real port, on the real clock, as sockets are."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
from attrs import evolve, frozen
from trio_websocket import WebSocketConnection, wrap_client_stream

from warmlane.bus import Bus, Feed
from warmlane.events import (
    BlockCompleted,
    BlockFailed,
    BlockLog,
    BlockStarted,
    ContainerStateChanged,
    Envelope,
    Event,
    ExecutionCompleted,
    ExecutionStarted,
    LaneCompleted,
    LaneStarted,
    MonitorHello,
    MonitorLost,
    PoolStatus,
    PullProgress,
)
from warmlane.monitor.door import SUBPROTOCOL
from warmlane.monitor.limits import Limits
from warmlane.monitor.server import Monitor, serve_monitor
from warmlane.records import BlockResult, ContainerRecord, PoolStats, Receipt, Start

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


EXECUTION = "s-1-e1"
_START = Start(cause="wake", queued=0.0, start=0.0123)
_COLD = Start(cause="cold", queued=1.5, start=0.3)


def _pool(revision: int, *containers: ContainerRecord) -> PoolStatus:
    counts = Counter(container.state for container in containers)
    return PoolStatus(
        revision=revision,
        containers=containers,
        counts=counts,
        max_containers=10,
        waiting=2,
        stats=PoolStats(hit=1, wake=1, ready_share=0.5),
    )


def _result(block_id: str, **more: Any) -> BlockResult:
    well = BlockResult(block_id=block_id, status="succeeded", attempts=1, duration=1.5, container_id="c1", start=_START)
    return evolve(well, **more)


@pytest.fixture
def story() -> list[dict[str, Any]]:
    """The messages of one whole run, as a monitor sends them."""
    lint, tests = _result("lint"), _result("tests", status="failed", reason="error", error="exit code 3", start=_COLD)
    report = _result("report", status="skipped", reason="earlier-failure", attempts=0, duration=None, start=None)
    running = evolve(CONTAINER, state="running", phase="cooling", block_id="lint", port=9100)
    events: list[Event] = [
        MonitorHello(session_id="s-1", runtime="docker", version="0.1.0", pool=_pool(1, CONTAINER)),
        ExecutionStarted(plan_name="release", lanes=(("lint", "tests"), ("report",)), inputs={}, runtime="docker"),
        PullProgress(image="img:1", status="downloading", current=5, total=10),
        PullProgress(image="img:1", status="complete"),
        ContainerStateChanged(
            container_id="c1",
            name="wl-c1",
            from_state="dormant",
            to_state="idle",
            phase="idle",
            block_id=None,
            cause="wake",
            duration=4.0,
            wake=0.0123,
        ),
        _pool(2, running),
        LaneStarted(lane=0, block_ids=("lint", "tests"), failure_mode="strict"),
        BlockStarted(block_id="lint", lane=0, container_id="c1", attempt=1, start=_START),
        BlockStarted(block_id="tests", lane=0, container_id="c2", attempt=2, start=_COLD),
        BlockLog(block_id="lint", container_id="c1", stream="stdout", text="all [bold]well[/] \x1b[2J"),
        BlockLog(block_id="tests", container_id="c2", stream="stderr", text="three failed"),
        BlockCompleted(result=lint),
        BlockFailed(block_id="tests", error="exit code 3", reason="error"),
        BlockCompleted(result=tests),
        LaneCompleted(lane=0, results=(lint, tests), launch_spread=0.004),
        BlockCompleted(result=report),
        MonitorLost(count=7),
        ExecutionCompleted(
            status="failed", results=(lint, tests, report), duration=3.25, receipt=Receipt(settled=0.01)
        ),
    ]
    return [
        Envelope(
            seq=number,
            at=1_800_000_000.0,
            execution_id=None
            if event.channel.partition(":")[0] != "execution" or isinstance(event, PoolStatus)
            else EXECUTION,
            event=event,
        ).message
        for number, event in enumerate(events)
    ]
