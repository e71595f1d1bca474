"""One block, from its place in line to its result.

Cancellation: whoever cancels the block (its time-out, a sibling, abort, the caller's scope) waits until its processes
are confirmed gone, or its container is on its way out; that wait is shielded and bounded by `Graces.settle`. Only then
is the result recorded, and it is recorded always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trio
from attrs import define, field, frozen

from warmlane.agent.protocol import BlockCall, Exit, LogLine
from warmlane.bus import Bus
from warmlane.engine.berths import Berths
from warmlane.errors import ContainerLostError, WarmlaneError
from warmlane.events import BlockCompleted, BlockFailed, BlockLog, BlockStarted
from warmlane.plan.model import Block, Request
from warmlane.pool import Lease, Pool
from warmlane.records import BlockResult, BlockStatus, Reason
from warmlane.settings import Settings
from warmlane.wire import encode

_BODILESS = ("GET", "HEAD", "DELETE", "OPTIONS")

WORDS: Mapping[Reason, str] = {
    "timeout": "it exceeded its time-out",
    "plan-timeout": "the plan exceeded its time-out",
    "aborted": "the run was aborted",
    "sibling-failed": "another block of its lane failed",
    "earlier-failure": "an earlier lane failed",
}
"""What `error` says when it was not the block that failed."""


@frozen(kw_only=True)
class Surroundings:
    """What all blocks of one execution share."""

    execution_id: str
    pool: Pool
    bus: Bus
    settings: Settings
    record: Callable[[BlockResult], None]
    """Keeps a result; called once for each block that was dispatched."""
    used: dict[str, None]
    """The names of the containers that have been taken, in order."""
    condemned: dict[str, None]
    """Those in which a block may still be: nothing is over before they are gone."""


@define(kw_only=True)
class BlockRun:
    """One dispatched block. `why` answers, when it is cancelled from outside, for what reason."""

    block_id: str
    block: Block
    lane: int
    run: str
    """The name of this very run for the agent."""
    input: Mapping[str, Any]
    around: Surroundings
    berths: Berths
    why: Callable[[], Reason]
    started_at: float | None = None
    """On Trio's clock, when it got its container."""
    _began: float | None = None
    _lease: Lease | None = None
    _clock: trio.CancelScope = field(factory=trio.CancelScope)
    """Its own time-out."""

    async def perform(self) -> BlockResult:
        """Runs the block and records its result, also when it is cancelled; then the Cancelled goes on."""
        try:
            result = await self._perform()
        except BaseException:
            # Cancelled, alone or in a group (a library's nursery makes one of it); or a bug of ours, which crashes the
            # run after this.
            reason = self.why()
            self._settle(self._result("failed" if self._lease else "skipped", reason, WORDS[reason]))
            raise
        self._settle(result)
        return result

    def refuse(self, reason: Reason, error: str) -> BlockResult:
        """Records that the block could not even be dispatched."""
        result = self._result("failed", reason, error)
        self._settle(result)
        return result

    def _settle(self, result: BlockResult) -> None:
        around = self.around
        around.record(result)
        if result.status == "failed" and result.reason is not None:
            failure = BlockFailed(block_id=self.block_id, error=result.error or "", reason=result.reason)
            around.bus.publish(failure, around.execution_id)
        around.bus.publish(BlockCompleted(result=result), around.execution_id)

    async def _perform(self) -> BlockResult:
        try:
            lease = await self.berths.take(self.block_id)
        except WarmlaneError as error:
            return self._result("failed", "container", str(error))
        self._started(lease)
        if self.block.timeout is not None:
            self._clock.deadline = trio.current_time() + self.block.timeout
        with self._clock:
            try:
                if self.block.request is not None:
                    return await self._request(lease, self.block.request)
                return await self._run(lease)
            except ContainerLostError as error:
                return await self._lost(lease, error.said)
        seconds = self.block.timeout or 0
        return self._result("failed", "timeout", f"{WORDS['timeout']} of {seconds * 1000:g} ms")

    def _started(self, lease: Lease) -> None:
        around = self.around
        self._lease, self._began, self.started_at = lease, around.bus.clock(), trio.current_time()
        around.used[lease.name] = None
        around.bus.publish(
            BlockStarted(
                block_id=self.block_id,
                lane=self.lane,
                container_id=lease.container_id,
                attempt=1,
                start=lease.start,
            ),
            around.execution_id,
        )

    async def _run(self, lease: Lease) -> BlockResult:
        around = self.around
        call = BlockCall(
            run=self.run,
            execution_id=around.execution_id,
            block_id=self.block_id,
            attempt=1,
            command=self.block.command,
            python=self.block.python,
            input=self.input,
            output_limit=around.settings.output_limit,
            terminate_grace=around.settings.graces.terminate,
        )

        def log(line: LogLine) -> None:
            around.bus.publish(
                BlockLog(
                    block_id=self.block_id,
                    container_id=lease.container_id,
                    stream=line.stream,
                    text=line.text,
                    partial=line.partial,
                ),
                around.execution_id,
            )

        try:
            exited = await lease.agent.run(call, log)
        except ContainerLostError:
            raise
        except BaseException:
            # Cancelled, or a bug of ours in `log`: either way nobody listens to the block, and it may still run.
            self._note()
            await self._end(lease)  # noqa: ASYNC102 - it is shielded and bounded itself
            raise
        self.berths.give(lease, at_once=False)
        return self._outcome(exited)

    async def _end(self, lease: Lease) -> None:
        """The run was hung up on: makes sure that its processes are gone, or that the container goes."""
        why = "the agent did not confirm the end of a cancelled block in time"
        with trio.move_on_after(self.around.settings.graces.settle, shield=True):
            try:
                await lease.agent.end(self.run)
            except ContainerLostError as error:
                why = str(error)
            else:
                self.berths.give(lease, at_once=True)
                return
        self._condemn(lease, why)

    def _condemn(self, lease: Lease, why: str) -> None:
        self.around.condemned[lease.name] = None
        self.berths.condemn(lease, why)

    def _note(self) -> None:
        """Being cancelled from outside: the way to settled begins now, not when the block has ended."""
        if not self._clock.cancel_called:
            self.why()

    async def _lost(self, lease: Lease, said: str) -> BlockResult:
        try:
            said = await self.around.pool.explain(lease, said)
        finally:
            self._condemn(lease, said)
        return self._result("failed", "lost", f"its container was lost: {said}")

    async def _request(self, lease: Lease, request: Request) -> BlockResult:
        body = request.body
        if body is None and request.method.upper() not in _BODILESS:
            body = self.input
        try:
            response = await lease.agent.request(request.method, request.path, request.headers, body)
        except ContainerLostError:
            raise
        except BaseException:
            # Nothing can tell whether the service has stopped working on it.
            self._note()
            self._condemn(lease, "a request to its service was cancelled")
            raise
        self.berths.give(lease, at_once=False)
        if response.status >= 400:
            answer = f"{request.method} {request.path} was answered with status {response.status}"
            return self._result("failed", "error", answer, output=response.body)
        size, limit = len(encode(response.body).encode()), self.around.settings.output_limit
        if size > limit:
            return self._result("failed", "bad-output", f"its output of {size} bytes exceeds the limit of {limit}")
        return self._result("succeeded", None, None, output=response.body)

    def _outcome(self, exited: Exit) -> BlockResult:
        if exited.fault is not None:
            return self._result("failed", exited.fault, exited.error or exited.fault, output=exited.output)
        return self._result("succeeded", None, None, output=exited.output)

    def _result(
        self, status: BlockStatus, reason: Reason | None, error: str | None, *, output: Any = None
    ) -> BlockResult:
        lease = self._lease
        return BlockResult(
            block_id=self.block_id,
            status=status,
            reason=reason,
            output=output,
            error=error,
            attempts=1 if lease else 0,
            started_at=self._began,
            duration=None if self.started_at is None else trio.current_time() - self.started_at,
            container_id=lease.container_id if lease else None,
            start=lease.start if lease else None,
        )
