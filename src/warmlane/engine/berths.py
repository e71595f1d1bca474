"""Where the blocks of a lane find their container: each one of its own, or all in one.

Made when the lane is reached: from then on its blocks count as waiting.

`take` cancelled holds nothing. What was taken is given back exactly once, with `give` if no process of the block is
left in it, with `condemn` if that could not be confirmed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import trio

from warmlane.errors import WarmlaneError
from warmlane.plan.model import Container, ParallelLane, WorkflowPlan
from warmlane.pool import Lease, Pool


class Berths(Protocol):
    """The containers of one lane."""

    async def take(self, block_id: str) -> Lease:
        """A container for this block; raises what `Pool.acquire` raises."""
        ...

    def give(self, lease: Lease, *, at_once: bool) -> None:
        """The block has ended, and nothing of it is left. at_once: pause without the grace."""
        ...

    def condemn(self, lease: Lease, why: str) -> None:
        """The block may still be in there: the container has to go."""
        ...

    def close(self, *, at_once: bool) -> None:
        """The lane has ended."""
        ...


class OwnContainers:
    """`multi-container`: a container for each block, never more at once than the plan allows."""

    def __init__(
        self,
        pool: Pool,
        plan: WorkflowPlan,
        containers: Mapping[str, Container],
        execution_id: str,
        limit: trio.CapacityLimiter,
    ) -> None:
        self._pool = pool
        self._containers = containers
        self._dormancy_timeout = plan.dormancy_timeout
        self._since = trio.current_time()
        self._execution_id = execution_id
        self._limit = limit
        self._tokens: dict[Lease, object] = {}

    async def take(self, block_id: str) -> Lease:
        """As the protocol says."""
        token = object()
        await self._limit.acquire_on_behalf_of(token)
        try:
            lease = await self._pool.acquire(
                self._containers[block_id],
                block_id=block_id,
                execution_id=self._execution_id,
                dormancy_timeout=self._dormancy_timeout,
                since=self._since,
            )
        except BaseException:  # a cancellation, too, holds nothing
            self._limit.release_on_behalf_of(token)
            raise
        self._tokens[lease] = token
        return lease

    def give(self, lease: Lease, *, at_once: bool) -> None:
        """As the protocol says."""
        self._pool.release(lease, at_once=at_once)
        self._limit.release_on_behalf_of(self._tokens.pop(lease))

    def condemn(self, lease: Lease, why: str) -> None:
        """As the protocol says."""
        self._pool.condemn(lease, why)
        self._limit.release_on_behalf_of(self._tokens.pop(lease))

    def close(self, *, at_once: bool) -> None:
        """Nothing is left to do: each block has given back its own."""


class SharedContainer:
    """`single-container`: the first block takes it, and it is given back when the lane has ended."""

    def __init__(
        self, pool: Pool, plan: WorkflowPlan, containers: Mapping[str, Container], execution_id: str, lane: ParallelLane
    ) -> None:
        self._pool = pool
        self._containers = containers
        self._dormancy_timeout = plan.dormancy_timeout
        self._since = trio.current_time()
        self._execution_id = execution_id
        self._lane = lane
        self._turn = trio.Lock()
        self._lease: Lease | None = None
        self._error: WarmlaneError | None = None

    async def take(self, block_id: str) -> Lease:
        """As the protocol says; what was refused to one block is refused to all."""
        async with self._turn:
            if self._error is not None:
                raise self._error
            if self._lease is None:
                try:
                    self._lease = await self._pool.acquire(
                        self._containers[block_id],
                        block_id=",".join(self._lane.blocks),
                        execution_id=self._execution_id,
                        dormancy_timeout=self._dormancy_timeout,
                        since=self._since,
                    )
                except WarmlaneError as error:
                    self._error = error
                    raise
            return self._lease

    def give(self, lease: Lease, *, at_once: bool) -> None:
        """Nothing yet: its siblings may still be in it."""

    def condemn(self, lease: Lease, why: str) -> None:
        """As the protocol says; the siblings lose their container, too."""
        self._pool.condemn(lease, why)

    def close(self, *, at_once: bool) -> None:
        """As the protocol says."""
        if self._lease is not None:
            self._pool.release(self._lease, at_once=at_once)
