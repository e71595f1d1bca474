"""One run of a plan: its lanes in order, its end, and the proof of it.

However `run` ends (the plan's end, a failure, `abort`, the plan's time-out, the cancellation of the scope that awaits
it), this holds when it has returned or raised: every block of the plan has a result, no process of a block is left,
and no lease, task or place in line belongs to the execution any more. After a cancellation its containers are also
dormant or gone (bounded by `Graces.settle` and `remove`; what could not be confirmed is in the receipt, `quarantined`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from warmlane.bus import Bus
from warmlane.engine.berths import Berths, OwnContainers, SharedContainer
from warmlane.engine.block import WORDS, Surroundings
from warmlane.engine.lane import LaneRun
from warmlane.engine.report import Report
from warmlane.events import (
    ExecutionAborted,
    ExecutionCompleted,
    ExecutionStarted,
    LaneCompleted,
    LaneStarted,
)
from warmlane.plan.model import ParallelLane, WorkflowPlan
from warmlane.plan.pick import widths
from warmlane.pool import Pool
from warmlane.pool.lease import WarmOrder
from warmlane.records import BlockResult, Reason, Receipt, RunStatus
from warmlane.settings import Settings


class Execution:
    """A run of one plan; `Session.start` and `Session.run` make it."""

    def __init__(
        self,
        plan: WorkflowPlan,
        inputs: Mapping[str, Any],
        *,
        execution_id: str,
        runtime: str,
        pool: Pool,
        bus: Bus,
        settings: Settings,
    ) -> None:
        self.id = execution_id
        self.plan = plan
        self._inputs = inputs
        self._containers = {block_id: plan.container_of(block_id) for block_id in plan.blocks}
        self._runtime = runtime
        self._pool = pool
        self._bus = bus
        self._settings = settings
        self._results: dict[str, BlockResult] = {}
        self._outputs: dict[str, Any] = {}
        self._scope = trio.CancelScope()
        self._aborted = False
        self._failed = False
        self._cancelled_at: float | None = None
        self._used: dict[str, None] = {}
        self._condemned: dict[str, None] = {}
        self._order: WarmOrder | None = None
        self._report: Report | None = None
        self._ended = trio.Event()

    def abort(self) -> None:
        """Cancels the run; `wait` (or whoever awaits `run`) returns when it has settled. Synchronous, repeatable."""
        if not self._ended.is_set():
            self._aborted = True
            self._note_cancellation()
            self._scope.cancel(reason="aborted")

    async def wait(self) -> Report:
        """The report, when the run has ended. Cancelling the wait leaves the run alone."""
        await self._ended.wait()
        if self._report is None:
            raise RuntimeError(f"execution {self.id} has crashed")
        return self._report

    async def run(self) -> Report:
        """Runs the plan. An outer cancellation settles the run, and goes on as Cancelled."""
        began = trio.current_time()
        plan = self.plan
        self._bus.publish(
            ExecutionStarted(
                plan_name=plan.name,
                lanes=tuple(lane.blocks for lane in plan.lanes),
                inputs=self._inputs,
                runtime=self._runtime,
            ),
            self.id,
        )
        self._order = self._pool.warm(
            ((container, min(width, plan.max_containers)) for container, width in widths(plan).values()),
            execution_id=self.id,
            dormancy_timeout=plan.dormancy_timeout,
        )
        if plan.timeout is not None:
            self._scope.deadline = began + plan.timeout
        try:
            with self._scope:
                await self._lanes()
        except BaseException:  # an outer cancellation, or a bug of ours: both end the run before its time
            self._aborted = True
            raise
        finally:
            self._cool_down()
            self._report = await self._conclude(began)  # noqa: ASYNC102 - shielded and bounded itself
            self._ended.set()
        return self._report

    async def _lanes(self) -> None:
        limit = trio.CapacityLimiter(self.plan.max_containers)
        around = Surroundings(
            execution_id=self.id,
            pool=self._pool,
            bus=self._bus,
            settings=self._settings,
            record=self._record,
            used=self._used,
            condemned=self._condemned,
        )
        previous: Mapping[str, Any] = {}
        for index, lane in enumerate(self.plan.lanes):
            run = LaneRun(
                index=index,
                lane=lane,
                plan=self.plan,
                around=around,
                berths=self._berths(lane, limit),
                inputs=self._inputs,
                previous=previous,
                outputs=self._outputs,
                why=self._note_cancellation,
            )
            if len(lane.blocks) > 1:
                await self._pool.warmed({self._containers[block_id].key for block_id in lane.blocks})
            started = LaneStarted(lane=index, block_ids=lane.blocks, failure_mode=self.plan.failure_mode_of(lane))
            self._bus.publish(started, self.id)
            try:
                await run.perform()
                with trio.move_on_after(self._patience):
                    await self._pool.settled(self._condemned)
            finally:
                # A task that was cancelled before its first step has recorded nothing.
                self._fill_in(lane, "sibling-failed" if run.failed else self._why())
                results = tuple(self._results[block_id] for block_id in lane.blocks)
                completed = LaneCompleted(lane=index, results=results, launch_spread=run.launch_spread)
                self._bus.publish(completed, self.id)
            previous = {result.block_id: result.output for result in results if result.status == "succeeded"}
            if run.failed:
                self._failed = True
                return

    def _berths(self, lane: ParallelLane, limit: trio.CapacityLimiter) -> Berths:
        if self.plan.parallelism_model == "single-container":
            return SharedContainer(self._pool, self.plan, self._containers, self.id, lane)
        return OwnContainers(self._pool, self.plan, self._containers, self.id, limit)

    def _record(self, result: BlockResult) -> None:
        self._results[result.block_id] = result
        if result.status == "succeeded":
            self._outputs[result.block_id] = result.output

    def _fill_in(self, lane: ParallelLane, reason: Reason) -> None:
        for block_id in lane.blocks:
            if block_id not in self._results:
                skipped = BlockResult(block_id=block_id, status="skipped", reason=reason, error=WORDS[reason])
                self._results[block_id] = skipped

    def _why(self) -> Reason:
        """The reason for which the run is being cancelled: an explicit abort, its deadline, or an outer scope."""
        if not self._aborted and self._scope.deadline <= trio.current_time():
            return "plan-timeout"
        return "aborted"

    def _note_cancellation(self) -> Reason:
        """The same, asked by whoever is being cancelled: the first to ask starts the receipt's clock."""
        if self._cancelled_at is None:
            self._cancelled_at = trio.current_time()
            self._cool_down()  # no replacement for a run that is over
        return self._why()

    @property
    def _patience(self) -> float:
        """Seconds in which a container comes to rest, or is quarantined: a slow wake, a pause that fails, a removal."""
        graces = self._settings.graces
        return graces.wake + 2 * graces.settle + graces.remove

    def _cool_down(self) -> None:
        if self._order is not None:
            self._pool.cool_down(self._order)
            self._order = None

    async def _conclude(self, began: float) -> Report:
        """Everything after the last block: shielded, and bounded by the graces of the pool's own work."""
        ended = trio.current_time()
        status: RunStatus = "completed"
        if self._failed:
            status = "failed"
        elif self._aborted or self._scope.cancelled_caught:
            status = "failed" if self._note_cancellation() == "plan-timeout" else "aborted"
        for lane in self.plan.lanes:
            self._fill_in(lane, "earlier-failure" if self._failed else self._why())
        used, awaited = tuple(self._used), tuple(self._condemned)
        if self._cancelled_at is not None:
            keys = {container.key for container in self._containers.values()}
            used += self._pool.let_go(used, keys)
            awaited = used + self._pool.coming_to_rest(keys)
        with trio.move_on_after(self._patience, shield=True):
            await self._pool.settled(awaited)
        now = trio.current_time()
        receipt = Receipt(containers=self._pool.ends(used), settled=now - (self._cancelled_at or ended))
        results = tuple(self._results[block_id] for lane in self.plan.lanes for block_id in lane.blocks)
        report = Report(
            execution_id=self.id,
            plan_name=self.plan.name,
            status=status,
            results=results,
            duration=now - began,
            receipt=receipt,
        )
        event = ExecutionAborted if status == "aborted" else ExecutionCompleted
        self._bus.publish(event(status=status, results=results, duration=report.duration, receipt=receipt), self.id)
        return report
