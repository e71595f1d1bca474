"""One lane: a nursery, and in it one task for each block.

strict: the first failure cancels the siblings through the nursery's scope. lenient: all outcomes are collected. A
result that says "failed" and an error raised on the way to it are the same thing here, because `BlockRun.perform`
makes results of both; a task that raises anything else is our own bug, and crashes the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trio
from attrs import define, field

from warmlane.engine.berths import Berths
from warmlane.engine.block import BlockRun, Surroundings
from warmlane.plan.model import ParallelLane, WorkflowPlan
from warmlane.plan.pick import InputError, block_input
from warmlane.records import BlockResult, Reason


@define(kw_only=True)
class LaneRun:
    """One lane under way. After `perform`, `failed` says whether its failure mode ends the run."""

    index: int
    lane: ParallelLane
    plan: WorkflowPlan
    around: Surroundings
    berths: Berths
    inputs: Mapping[str, Any]
    previous: Mapping[str, Any]
    outputs: Mapping[str, Any]
    why: Callable[[], Reason]
    """The reason for which the whole run is being cancelled."""
    failed: bool = False
    _blocks: list[BlockRun] = field(factory=list[BlockRun])

    async def perform(self) -> None:
        """Runs all blocks to their ends. Cancelled, it still waits until each has settled."""
        strict = self.plan.failure_mode_of(self.lane) == "strict"
        cut = True
        try:
            async with trio.open_nursery() as nursery:
                for position, block_id in enumerate(self.lane.blocks):
                    nursery.start_soon(self._block, position, block_id, strict, nursery.cancel_scope, name=block_id)
            cut = self.failed
        finally:
            self.berths.close(at_once=cut)

    @property
    def launch_spread(self) -> float | None:
        """Seconds between the first and the last block start; None if none has started."""
        starts = [run.started_at for run in self._blocks if run.started_at is not None]
        return max(starts) - min(starts) if starts else None

    def _why(self) -> Reason:
        why = self.why()  # asked in any case: whoever is cancelled tells the run
        return "sibling-failed" if self.failed else why

    async def _block(self, position: int, block_id: str, strict: bool, lane: trio.CancelScope) -> None:
        result = await self._perform(position, block_id)
        if strict and result.status != "succeeded":
            self.failed = True
            lane.cancel(reason=f"block {block_id} failed")

    async def _perform(self, position: int, block_id: str) -> BlockResult:
        run = BlockRun(
            block_id=block_id,
            block=self.plan.blocks[block_id],
            lane=self.index,
            run=f"{self.around.execution_id}.{self.index}.{position}.1",
            input={},
            around=self.around,
            berths=self.berths,
            why=self._why,
        )
        try:
            run.input = block_input(
                self.plan, block_id, previous=self.previous, outputs=self.outputs, inputs=self.inputs
            )
        except InputError as error:
            return run.refuse("bad-input", str(error))
        self._blocks.append(run)
        return await run.perform()
