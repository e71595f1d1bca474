"""All that can happen, as frozen classes: the one vocabulary of bus, journal, monitor and command line.

Each class names its `channel`; its payload is itself, turned by `wire.to_wire` (see `Envelope.message`).
An event is complete when it is published: nothing in it is filled in later.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from attrs import field, frozen

from warmlane.records import (
    BlockResult,
    ContainerRecord,
    Counts,
    PoolStats,
    Reason,
    Receipt,
    RunStatus,
    Start,
    WireState,
)
from warmlane.wire import SECONDS, encode, iso, to_wire


@frozen(kw_only=True)
class ExecutionStarted:
    """A run of a plan begins."""

    channel: ClassVar[str] = "execution:started"
    plan_name: str
    lanes: tuple[tuple[str, ...], ...]
    inputs: Mapping[str, Any]
    runtime: str


@frozen(kw_only=True)
class LaneStarted:
    """All blocks of a lane are being dispatched."""

    channel: ClassVar[str] = "execution:lane-start"
    lane: int
    block_ids: tuple[str, ...]
    failure_mode: str


@frozen(kw_only=True)
class BlockStarted:
    """A block has its container and is being started in it."""

    channel: ClassVar[str] = "execution:block-start"
    block_id: str
    lane: int
    container_id: str
    attempt: int
    start: Start


@frozen(kw_only=True)
class BlockLog:
    """One line that a block printed, without its newline. A line too long for one event comes in pieces, of which
    all but the last are `partial`. Bytes that are not UTF-8 appear as `\\xNN`."""

    channel: ClassVar[str] = "execution:block-log"
    block_id: str
    container_id: str
    stream: str
    text: str
    partial: bool = False


@frozen(kw_only=True)
class BlockCompleted:
    """A block has settled, well or not; the payload is its result."""

    channel: ClassVar[str] = "execution:block-complete"
    result: BlockResult


@frozen(kw_only=True)
class BlockFailed:
    """A block has failed; its `block-complete` follows at once."""

    channel: ClassVar[str] = "execution:block-error"
    block_id: str
    error: str
    reason: Reason


@frozen(kw_only=True)
class LaneCompleted:
    """Every block of a lane has settled. `launch_spread` is the time between its first and last block start."""

    channel: ClassVar[str] = "execution:lane-complete"
    lane: int
    results: tuple[BlockResult, ...]
    launch_spread: float | None = field(metadata=SECONDS)


@frozen(kw_only=True)
class ExecutionCompleted:
    """The run has ended by itself, `completed` or `failed`; nothing of it is left running."""

    channel: ClassVar[str] = "execution:complete"
    status: RunStatus
    results: tuple[BlockResult, ...]
    duration: float = field(metadata=SECONDS)
    receipt: Receipt


@frozen(kw_only=True)
class ExecutionAborted:
    """The run was cancelled, and has settled: nothing of it is left running."""

    channel: ClassVar[str] = "execution:aborted"
    status: RunStatus
    results: tuple[BlockResult, ...]
    duration: float = field(metadata=SECONDS)
    receipt: Receipt


@frozen(kw_only=True)
class PoolStatus:
    """The whole pool, after every transition."""

    channel: ClassVar[str] = "execution:pool-status"
    revision: int
    containers: tuple[ContainerRecord, ...]
    counts: Counts
    max_containers: int
    waiting: int
    stats: PoolStats


@frozen(kw_only=True)
class ContainerStateChanged:
    """A container went from one state to another. `duration` is the time it spent in `from_state`'s phase."""

    channel: ClassVar[str] = "container:state-change"
    container_id: str
    name: str
    from_state: WireState | None
    to_state: WireState
    phase: str
    block_id: str | None
    cause: str
    duration: float = field(metadata=SECONDS)
    cold_start: float | None = field(default=None, metadata=SECONDS)
    wake: float | None = field(default=None, metadata=SECONDS)


@frozen(kw_only=True)
class PullProgress:
    """A missing image is being pulled. `current` and `total` are bytes over all layers, where known."""

    channel: ClassVar[str] = "container:pull-progress"
    image: str
    status: str
    current: int | None = None
    total: int | None = None


@frozen(kw_only=True)
class SessionNotice:
    """Something that the owner of the session should know, as a sentence; the session goes on."""

    channel: ClassVar[str] = "session:notice"
    text: str


@frozen(kw_only=True)
class MonitorHello:
    """The first message to a monitor: where the sequence stands, and the pool as it is."""

    channel: ClassVar[str] = "monitor:hello"
    session_id: str
    runtime: str
    version: str
    pool: PoolStatus


@frozen(kw_only=True)
class MonitorLost:
    """This reader was too slow, and missed `count` events."""

    channel: ClassVar[str] = "monitor:lost"
    count: int


Event = (
    ExecutionStarted
    | LaneStarted
    | BlockStarted
    | BlockLog
    | BlockCompleted
    | BlockFailed
    | LaneCompleted
    | ExecutionCompleted
    | ExecutionAborted
    | PoolStatus
    | ContainerStateChanged
    | PullProgress
    | SessionNotice
    | MonitorHello
    | MonitorLost
)


@frozen(kw_only=True, slots=False, eq=False)
class Envelope:
    """An event with its place in the sequence. Encoded once, however many read it."""

    seq: int
    at: float
    execution_id: str | None
    event: Event

    @cached_property
    def message(self) -> dict[str, Any]:
        """The message as plain JSON values: `{channel, seq, at, executionId, payload}`."""
        event = self.event
        return {
            "channel": event.channel,
            "seq": self.seq,
            "at": iso(self.at),
            "executionId": self.execution_id,
            "payload": to_wire(event.result if isinstance(event, BlockCompleted) else event),
        }

    @cached_property
    def json(self) -> str:
        """The message as one line of JSON."""
        return encode(self.message)
