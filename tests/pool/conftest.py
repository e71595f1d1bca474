"""A pool on a simulated host, and a witness that holds every announcement of every test to the design."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define, field

from warmlane.bus import Bus, Feed
from warmlane.events import ContainerStateChanged, Envelope, PoolStatus
from warmlane.plan.model import Container
from warmlane.pool import Lease, Pool, open_pool
from warmlane.runtimes.fake import open_fake_runtime
from warmlane.runtimes.fake_blocks import BlockFunction
from warmlane.runtimes.fake_box import ImageKind, Pace
from warmlane.runtimes.fake_faults import Call, Fault
from warmlane.runtimes.fake_host import FakeHost
from warmlane.settings import Settings

PATIENCE = 10_000.0
"""Seconds of simulated time after which something that should have happened has not."""


def image(name: str = "img", **more: Any) -> Container:
    return Container(image=name, **{"transport": "tcp", **more})


@define
class Stage:
    """The pool, its host, and all that was announced."""

    pool: Pool
    host: FakeHost
    settings: Settings
    _feed: Feed
    told: list[Envelope] = field(factory=list[Envelope])

    async def acquire(
        self, block: str = "b", *, of: str = "img", execution: str = "e", dormancy: float = 300.0, **more: Any
    ) -> Lease:
        """A lease of a container of that image, within simulated reason."""
        with trio.fail_after(PATIENCE):
            return await self.pool.acquire(
                image(of, **more), block_id=block, execution_id=execution, dormancy_timeout=dormancy
            )

    def phases(self) -> dict[str, str]:
        """What each container does now, by name."""
        return {record.name: record.phase for record in self.pool.status().containers}

    def phase(self, name: str) -> str | None:
        """What this container does now; None if it is gone."""
        return self.phases().get(name)

    async def until(self, done: Callable[[], bool]) -> None:
        """Waits until this is so, looking after each event."""
        with trio.fail_after(PATIENCE):
            while not done():
                self.told.append(await self._feed.receive())

    async def until_phase(self, name: str, phase: str | None) -> None:
        """Waits until this container does that; None waits until it is gone."""
        await self.until(lambda: self.phase(name) == phase)

    def read(self) -> list[Envelope]:
        """Everything announced so far."""
        while (envelope := self._feed.receive_nowait()) is not None:
            self.told.append(envelope)
        return self.told

    def changes(self, name: str | None = None) -> list[ContainerStateChanged]:
        """All state changes so far, of one container or of all."""
        events = [envelope.event for envelope in self.read()]
        return [event for event in events if isinstance(event, ContainerStateChanged) and name in (None, event.name)]

    def path(self, name: str) -> list[str]:
        """The phases that a container has gone through."""
        return [change.phase for change in self.changes(name)]


@pytest.fixture
def stage() -> Callable[..., AbstractAsyncContextManager[Stage]]:
    """`stage(cap, ...)`: a pool whose every announcement is checked when it has closed, and that leaves nothing."""

    @asynccontextmanager
    async def stage(
        cap: int = 10,
        *,
        blocks: Mapping[str, BlockFunction] | None = None,
        images: Mapping[str, ImageKind] | None = None,
        pace: Pace | None = None,
        leaves: int = 0,
        **more: Any,
    ) -> AsyncGenerator[Stage]:
        settings = Settings(max_containers=cap, **more)
        async with open_fake_runtime(blocks=blocks, images=images, pace=pace) as runtime:
            host = runtime.host

            def faults(call: Call) -> Fault | None:
                if call.kind == "create" and len(host.boxes) >= cap:
                    host.violations.append(f"{call.name} was created beside {len(host.boxes)} others")
                return host.orders(call)

            host.faults = faults
            bus = Bus(clock=lambda: 1_000_000.0 + trio.current_time())
            with bus.feed(whole=True) as feed:
                async with open_pool(runtime, bus, settings, session_id="s", owner="o") as pool:
                    it = Stage(pool, host, settings, feed)
                    yield it
                bus.close()
                witness(it.read(), cap)
            assert len(pool.left_behind) == leaves
            if not leaves:
                assert host.leftovers() == []
                assert pool.status().containers == ()

    return stage


def witness(told: list[Envelope], cap: int) -> None:
    """What holds of every sequence of announcements of a pool."""
    last: dict[str, str | None] = {}
    revision = 0
    for index, envelope in enumerate(told):
        event = envelope.event
        if isinstance(event, ContainerStateChanged):
            assert event.from_state == last.get(event.name), "each change begins where the one before ended"
            assert event.duration >= 0
            last[event.name] = event.to_state
            assert len(told) > index + 1
            witness_record(event, told[index + 1])
        elif isinstance(event, PoolStatus):
            assert event.revision > revision
            revision = event.revision
            witness_status(event, cap)


def witness_record(event: ContainerStateChanged, after: Envelope) -> None:
    assert isinstance(after.event, PoolStatus), "a snapshot follows each change at once"
    records = [record for record in after.event.containers if record.name == event.name]
    if event.to_state == "terminated":
        assert records == [], "who is gone is in no snapshot"
        return
    (record,) = records
    assert (record.state, record.phase, record.block_id) == (event.to_state, event.phase, event.block_id)
    assert record.since == after.at


def witness_status(status: PoolStatus, cap: int) -> None:
    assert len(status.containers) <= cap == status.max_containers
    ports = [record.port for record in status.containers if record.port is not None]
    assert len(set(ports)) == len(ports), "no port is given twice"
    assert sum(status.counts.values()) == len(status.containers)
    for record in status.containers:
        assert status.counts[record.state] == len([other for other in status.containers if other.state == record.state])
        if record.phase == "running":
            assert record.block_id is not None
            assert record.execution_id is not None
        elif record.phase != "stopping":
            assert record.block_id is None
            assert record.execution_id is None
        assert (record.dormant_since is not None) == (record.state == "dormant")
