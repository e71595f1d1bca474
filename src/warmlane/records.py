"""What can be said about a container and about a block: the frozen records that events, results and monitor share.

Durations are seconds, moments seconds since the epoch; `wire.py` turns both into what JSON carries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from warmlane.wire import MOMENT, SECONDS

WireState = Literal["starting", "idle", "running", "dormant", "terminated", "quarantined"]
BlockStatus = Literal["succeeded", "failed", "skipped"]
RunStatus = Literal["completed", "failed", "aborted"]
StartCause = Literal["hit", "cooling", "wake", "cold"]

Reason = Literal[
    "error",  # the block said so: an exit code that is not 0, an exception, an HTTP status >= 400
    "signal",  # the block was killed by a signal that was not ours
    "timeout",  # its own `timeoutMs`
    "plan-timeout",  # the plan's `timeoutMs`
    "aborted",  # abort(), a cancelled scope, SIGINT or SIGTERM
    "sibling-failed",  # strict: a block of its own lane failed
    "earlier-failure",  # skipped: strict, and a lane before failed
    "bad-input",  # its input could not be made
    "bad-output",  # what it wrote is not JSON, or is too large
    "container",  # its container could not be had
    "lost",  # its container went away under it
    "oom",  # it exceeded the memory limit of its container
]


@frozen(kw_only=True)
class Start:
    """How a block got its container: from where, how long it stood in line, how long it waited for the start.

    Both in seconds.
    """

    cause: StartCause
    queued: float = field(metadata=SECONDS)
    start: float = field(metadata=SECONDS)


@frozen(kw_only=True)
class BlockResult:
    """What became of one block. There is one for every block of a plan, always.

    `duration` is in seconds, from when it got its container to its end; `started_at` is when that was, in seconds since
    the epoch. Both are None for a block that never got one.
    """

    block_id: str
    status: BlockStatus
    reason: Reason | None = None
    output: Any = None
    error: str | None = None
    attempts: int = 0
    started_at: float | None = field(default=None, metadata=MOMENT)
    duration: float | None = field(default=None, metadata=SECONDS)
    container_id: str | None = None
    start: Start | None = None


@frozen(kw_only=True)
class ContainerRecord:
    """One container, as the monitor shows it. `state` is the wire's word, `phase` the exact state of the table."""

    id: str
    name: str
    state: WireState
    phase: str
    image: str | None
    block_id: str | None = None
    execution_id: str | None = None
    port: int | None = None
    created_at: float = field(metadata=MOMENT)
    since: float = field(metadata=MOMENT)
    dormant_since: float | None = field(default=None, metadata=MOMENT)
    uses: int = 0
    last_error: str | None = None


@frozen(kw_only=True)
class PoolStats:
    """How blocks have found their containers since the session began. `ready_share` is (hit + cooling) / all."""

    hit: int = 0
    cooling: int = 0
    wake: int = 0
    cold: int = 0
    ready_share: float | None = None


@frozen(kw_only=True)
class ContainerEnd:
    """How an execution left one container that it had used, or had in its birth when it was cancelled.

    `removed` means that the runtime confirmed it; `stopping`, that it has not done so yet, and that no block of this
    execution is in it; `returned`, that it is back in the pool and not yet asleep.
    """

    container_id: str
    name: str
    ended: Literal["dormant", "removed", "quarantined", "stopping", "returned"]
    at: float = field(metadata=MOMENT)


@frozen(kw_only=True)
class Receipt:
    """What is left of an execution, and how long the way from its end (or its cancellation) to settled took."""

    containers: tuple[ContainerEnd, ...] = ()
    settled: float = field(metadata=SECONDS)


Counts = Mapping[WireState, int]
