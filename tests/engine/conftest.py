"""A session on a simulated host, and a witness that holds every run in it to the engine's promises."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import pytest
import trio
from attrs import define, field

from warmlane.bus import Feed
from warmlane.engine import Report
from warmlane.events import (
    BlockCompleted,
    BlockFailed,
    BlockStarted,
    Envelope,
    ExecutionAborted,
    ExecutionCompleted,
    ExecutionStarted,
    LaneCompleted,
    LaneStarted,
)
from warmlane.plan.model import Block, Container, ParallelLane, WorkflowPlan
from warmlane.runtimes.fake_blocks import BlockFunction
from warmlane.runtimes.fake_host import FakeHost
from warmlane.session import Session
from warmlane.settings import Settings
from warmlane.testing import open_fake_session

E = TypeVar("E")

PATIENCE = 10_000.0
"""Seconds of simulated time after which something that should have happened has not."""


@define
class Stage:
    """The session, its host, and all that was announced."""

    session: Session
    host: FakeHost
    _feed: Feed
    told: list[Envelope] = field(factory=list[Envelope])

    async def run(self, plan: WorkflowPlan, **inputs: Any) -> Report:
        """Runs a plan, within simulated reason."""
        with trio.fail_after(PATIENCE):
            return await self.session.run(plan, inputs=inputs)

    def read(self) -> list[Envelope]:
        """Everything announced so far."""
        while (envelope := self._feed.receive_nowait()) is not None:
            self.told.append(envelope)
        return self.told

    def heard(self, kind: type[E], execution: str | None = None) -> list[E]:
        """The events of that class so far."""
        return [
            envelope.event
            for envelope in self.read()
            if isinstance(envelope.event, kind) and execution in (None, envelope.execution_id)
        ]

    async def until(self, done: Callable[[], bool]) -> None:
        """Waits until this is so, looking after each event."""
        with trio.fail_after(PATIENCE):
            while not done():
                self.told.append(await self._feed.receive())

    def phases(self) -> list[str]:
        """What the containers do now."""
        return [record.phase for record in self.session.pool_status().containers]


def witness(told: list[Envelope]) -> None:
    """What holds of every run, as its events tell it."""
    runs: dict[str, list[Any]] = {}
    for envelope in told:
        if envelope.execution_id is not None:
            runs.setdefault(envelope.execution_id, []).append(envelope.event)
    for events in runs.values():
        kinds = (BlockCompleted, BlockFailed, BlockStarted, ExecutionAborted, ExecutionCompleted, ExecutionStarted)
        events = [event for event in events if isinstance(event, (*kinds, LaneCompleted, LaneStarted))]
        started, ended = events[0], events[-1]
        assert isinstance(started, ExecutionStarted)
        assert isinstance(ended, ExecutionCompleted | ExecutionAborted)
        assert isinstance(ended, ExecutionAborted) == (ended.status == "aborted")
        declared = [block_id for lane in started.lanes for block_id in lane]
        assert [result.block_id for result in ended.results] == declared, "every block has a result, in declared order"
        witness_results(events[1:-1], started, {result.block_id: result for result in ended.results})


def witness_results(events: list[Any], started: ExecutionStarted, results: dict[str, Any]) -> None:
    open_lane: int | None = None
    failing: str | None = None
    for event in events:
        if failing is not None:
            assert isinstance(event, BlockCompleted), "block-complete follows block-error at once"
            assert event.result.block_id == failing
        failing = event.block_id if isinstance(event, BlockFailed) else None
        if isinstance(event, LaneStarted):
            assert open_lane is None, "one lane at a time"
            open_lane = event.lane
            assert event.block_ids == started.lanes[event.lane]
        elif isinstance(event, LaneCompleted):
            assert event.lane == open_lane
            open_lane = None
            assert event.results == tuple(results[block_id] for block_id in started.lanes[event.lane])
        elif isinstance(event, BlockCompleted):
            assert event.result == results[event.result.block_id], "a result is said once, and stays so"
        elif isinstance(event, BlockStarted):
            assert event.lane == open_lane
    assert open_lane is None
    completed = [event.result.block_id for event in events if isinstance(event, BlockCompleted)]
    assert len(set(completed)) == len(completed)
    for result in results.values():
        if result.status != "skipped":
            assert result.block_id in completed
        assert (result.status == "succeeded") == (result.reason is None) == (result.error is None)
        assert (result.container_id is None) == (result.attempts == 0) == (result.start is None)


@pytest.fixture
def stage() -> Callable[..., AbstractAsyncContextManager[Stage]]:
    """`stage({"a": sleeps(1)}, ...)`: a session whose every run is checked, and that leaves nothing."""

    @asynccontextmanager
    async def stage(
        blocks: dict[str, BlockFunction] | None = None, *, settings: Settings | None = None, **more: Any
    ) -> AsyncGenerator[Stage]:
        async with open_fake_session(blocks, settings=settings, **more) as (session, host):
            with session.events(whole=True) as feed:
                it = Stage(session, host, feed)
                yield it
        witness(it.read())
        assert host.running_blocks() == []
        assert host.names() == []

    return stage


@pytest.fixture
def plan() -> Callable[..., WorkflowPlan]:
    """`plan("a", ("b", "c"), b=Block(...), failure_mode="lenient")`: each string or tuple is a lane; what is not
    given is a command."""

    def plan(*lanes: str | tuple[str, ...] | ParallelLane, **more: Any) -> WorkflowPlan:
        whole = tuple(
            lane if isinstance(lane, ParallelLane) else ParallelLane(blocks=(lane,) if isinstance(lane, str) else lane)
            for lane in lanes
        )
        ids = [block_id for lane in whole for block_id in lane.blocks]
        blocks = {block_id: more.pop(block_id, Block(command=("true",))) for block_id in ids}
        return WorkflowPlan(name="p", blocks=blocks, lanes=whole, **{"container": Container(image="img"), **more})

    return plan
