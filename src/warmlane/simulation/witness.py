"""What must hold of everything that a session announces, in any weather."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from attrs import define, field

from warmlane.events import (
    BlockCompleted,
    BlockStarted,
    ContainerStateChanged,
    Envelope,
    ExecutionAborted,
    ExecutionCompleted,
    ExecutionStarted,
    LaneCompleted,
    PoolStatus,
)
from warmlane.plan.model import WorkflowPlan
from warmlane.records import BlockResult

Ended = ExecutionCompleted | ExecutionAborted


@define
class _Told:
    """What was announced of one execution."""

    declared: list[str]
    settled: dict[str, BlockResult] = field(factory=dict[str, BlockResult])
    ended: Ended | None = None


@define
class Witness:
    """Listens to all events of one session, in order. `broken` names each promise that was not kept."""

    cap: int
    broken: list[str] = field(factory=list[str])
    runs: dict[str, _Told] = field(factory=dict[str, _Told])
    lives: int = 0
    """How many containers have begun to live."""
    _states: dict[str, str] = field(factory=dict[str, str])
    _revision: int = 0
    _owed: ContainerStateChanged | None = None
    """A change whose snapshot has not come yet."""

    def hear(self, envelopes: Iterable[Envelope]) -> None:
        """The next events."""
        for envelope in envelopes:
            self.broken.extend(self._hear(envelope))

    def ended(self, execution_id: str) -> Ended | None:
        """How that execution ended, as it was announced."""
        told = self.runs.get(execution_id)
        return None if told is None else told.ended

    def _hear(self, envelope: Envelope) -> Iterator[str]:
        event = envelope.event
        owed, self._owed = self._owed, None
        if owed is not None and not isinstance(event, PoolStatus):
            yield f"no snapshot followed the change of {owed.name} to {owed.phase}"
        if isinstance(event, ContainerStateChanged):
            yield from self._change(event)
        elif isinstance(event, PoolStatus):
            yield from self._status(event, owed, envelope.at)
        elif isinstance(event, ExecutionStarted):
            ids = [block_id for lane in event.lanes for block_id in lane]
            self.runs[envelope.execution_id or ""] = _Told(ids)
        elif envelope.execution_id in self.runs:
            yield from self._run(event, envelope.execution_id, self.runs[envelope.execution_id])

    def _change(self, event: ContainerStateChanged) -> Iterator[str]:
        before = self._states.get(event.name)
        if event.from_state != before:
            yield f"{event.name} went from {event.from_state}, but was {before}"
        self.lives += before is None
        self._states[event.name] = event.to_state
        self._owed = event

    def _status(self, status: PoolStatus, owed: ContainerStateChanged | None, at: float) -> Iterator[str]:
        if status.revision <= self._revision:
            yield f"revision {status.revision} came after {self._revision}"
        self._revision = status.revision
        records = {record.name: record for record in status.containers}
        if len(records) > self.cap:
            yield f"{len(records)} containers above the cap of {self.cap}"
        ports = [record.port for record in records.values() if record.port is not None]
        if len(set(ports)) < len(ports):
            yield f"a port belongs to two containers: {sorted(ports)}"
        if sum(status.counts.values()) != len(records):
            yield f"the counts {dict(status.counts)} do not make {len(records)}"
        for record in records.values():
            if record.phase != "stopping" and (record.phase == "running") != (record.block_id is not None):
                yield f"{record.name} is {record.phase} with block {record.block_id}"
        if owed is None:
            return
        mine = records.get(owed.name)
        if (mine is None) != (owed.to_state == "terminated"):
            yield f"{owed.name} became {owed.to_state} and is {mine and mine.state}"
        elif mine is not None and (mine.phase, mine.block_id, mine.since) != (owed.phase, owed.block_id, at):
            yield f"the record of {owed.name} was not complete when it became {owed.phase}"

    def _run(self, event: Any, execution_id: str, told: _Told) -> Iterator[str]:
        if told.ended is not None:
            yield f"{event.channel} came after the end of {execution_id}"
        if isinstance(event, BlockCompleted):
            if event.result.block_id in told.settled:
                yield f"block {event.result.block_id} of {execution_id} was settled twice"
            told.settled[event.result.block_id] = event.result
        elif isinstance(event, BlockStarted) and event.block_id in told.settled:
            yield f"block {event.block_id} of {execution_id} was started after its result"
        elif isinstance(event, LaneCompleted):
            yield from self._results(event.results, told)
        elif isinstance(event, Ended):
            told.ended = event
            if [result.block_id for result in event.results] != told.declared:
                yield f"{execution_id} ended with {len(event.results)} results for {len(told.declared)} blocks"
            yield from self._results(event.results, told)

    def _results(self, results: Iterable[BlockResult], told: _Told) -> Iterator[str]:
        for result in results:
            if result != told.settled.get(result.block_id, result):
                yield f"the result of block {result.block_id} has changed since it settled"
            if result.status != "skipped" and result.block_id not in told.settled:
                yield f"block {result.block_id} has {result.status} and was never announced"
            if (result.status == "succeeded") != (result.reason is None):
                yield f"block {result.block_id} has {result.status} with reason {result.reason}"


def says_it_all(plan: WorkflowPlan, ended: Ended, *, alone: bool) -> Iterator[str]:
    """What is missing from the report of a run of this plan. alone: no other run could take its containers over."""
    if len(ended.results) != len(plan.blocks):
        yield f"{len(ended.results)} results for {len(plan.blocks)} blocks"
    used = {result.container_id for result in ended.results if result.container_id}
    named = {end.container_id for end in ended.receipt.containers}
    if not used <= named:
        yield f"the receipt leaves out {sorted(used - named)}"
    if ended.status == "aborted" and alone:
        loose = [end.name for end in ended.receipt.containers if end.ended in ("returned", "stopping")]
        if loose:
            yield f"the run was called aborted while {loose} had neither slept nor gone"
