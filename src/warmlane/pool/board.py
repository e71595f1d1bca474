"""All containers of a pool, and the one place where a container changes its state.

A step is taken, its record completed and both announced without an await between them: whoever reads the bus never
sees a state without its block, or a block without its state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Literal

import trio

from warmlane.bus import Bus
from warmlane.events import ContainerStateChanged, PoolStatus
from warmlane.life.stock import Line, Stock
from warmlane.life.table import Life, State, Step, StepError
from warmlane.plan.model import Container
from warmlane.pool.ports import PortBook
from warmlane.pool.slot import Slot
from warmlane.records import ContainerEnd, ContainerRecord, PoolStats, StartCause, WireState

NAME_PREFIX = "warmlane-"
REMEMBERED = 1024
"""So many removed containers are remembered, with the moment of their confirmed end, for the receipts of executions."""

_ENDS: Mapping[State, Literal["dormant", "quarantined", "stopping"]] = {
    State.DORMANT: "dormant",
    State.STOPPING: "stopping",
    State.QUARANTINED: "quarantined",
}


class Board:
    """The slots by name, stock and line as the policy reads them, and the announcements."""

    def __init__(self, bus: Bus, ports: PortBook, session_id: str, max_containers: int) -> None:
        self.stock = Stock()
        self.line = Line()
        self.ports = ports
        self.changed = trio.lowlevel.ParkingLot()
        self._bus = bus
        self._session_id = session_id
        self._max_containers = max_containers
        self._slots: dict[str, Slot] = {}
        self._records: dict[str, ContainerRecord] = {}
        self._counts: Counter[WireState] = Counter()
        self._causes: Counter[StartCause] = Counter()
        self._revision = 0
        self._born = 0
        self._gone: dict[str, float] = {}

    def __iter__(self) -> Iterator[Slot]:
        return iter(tuple(self._slots.values()))

    def __getitem__(self, name: str) -> Slot:
        return self._slots[name]

    def get(self, name: str) -> Slot | None:
        """The slot of that name, None if it is terminated."""
        return self._slots.get(name)

    def claim(self, container: Container, dormancy_timeout: float, token: str, *, cause: str) -> Slot:
        """A new slot with its port and its record, all before the first await. Raises NoFreePortError."""
        port = self.ports.claim() if container.transport == "tcp" else None
        self._born += 1
        ident = f"{self._session_id}-{self._born}"
        now, wall = trio.current_time(), self._bus.clock()
        slot = Slot(
            id=ident,
            name=NAME_PREFIX + ident,
            container=container,
            key=container.key,
            token=token,
            port=port,
            dormancy_timeout=dormancy_timeout,
            created=wall,
            entered_at=now,
            awaited_since=now,
        )
        self._slots[slot.name] = slot
        self.stock.place(slot.name, slot.key, slot.life.state)
        self._counts["starting"] += 1
        self._announce(slot, None, cause, 0.0)
        return slot

    def take(
        self,
        slot: Slot,
        step: Step,
        *,
        cause: str,
        for_block: tuple[str, str] | None = None,
        cold_start: float | None = None,
        wake: float | None = None,
    ) -> None:
        """One step of one container, complete and announced. Raises StepError and changes nothing if it may not.

        for_block: (block id, execution id) of who gets it, with LEASE and HAND_OVER.
        """
        if not slot.life.allows(step):
            raise StepError(slot.life.state, step)
        before, now = slot.life.wire, trio.current_time()
        state, spent = slot.life.take(step), now - slot.entered_at
        slot.entered_at = now
        if for_block is not None:
            slot.block_id, slot.execution_id = for_block
            slot.uses += 1
        elif state is not State.STOPPING:
            slot.block_id = slot.execution_id = None
        self._counts[before] -= 1
        if state is State.TERMINATED:
            self.stock.drop(slot.name)
            del self._slots[slot.name]
            del self._records[slot.name]
            self._remember(slot.name)
            if slot.port is not None:
                self.ports.free(slot.port)
        else:
            self._counts[slot.life.wire] += 1
            self.stock.place(slot.name, slot.key, state)
        self._announce(slot, before, cause, spent, cold_start=cold_start, wake=wake)

    def move_port(self, slot: Slot, refused: Collection[int]) -> None:
        """Another process holds the slot's port, and all of these: takes the next one. Raises NoFreePortError, and the
        slot has none then."""
        if slot.port is not None:
            self.ports.free(slot.port)
            slot.port = None
        slot.port = self.ports.claim(besides=refused)

    def count(self, cause: StartCause) -> None:
        """One block has found its container so; announced with its lease."""
        self._causes[cause] += 1

    def status(self) -> PoolStatus:
        """The whole pool as it is."""
        causes = self._causes
        blocks, ready = causes.total(), causes["hit"] + causes["cooling"]
        return PoolStatus(
            revision=self._revision,
            containers=tuple(self._records.values()),
            counts={state: number for state, number in self._counts.items() if number},
            max_containers=self._max_containers,
            waiting=len(self.line),
            stats=PoolStats(
                hit=causes["hit"],
                cooling=causes["cooling"],
                wake=causes["wake"],
                cold=causes["cold"],
                ready_share=ready / blocks if blocks else None,
            ),
        )

    def end_of(self, name: str) -> ContainerEnd:
        """What has become of a container that this pool has had."""
        ended: Literal["dormant", "removed", "quarantined", "stopping", "returned"]
        slot = self._slots.get(name)
        if slot is None:
            ended = "removed"
            at = self._gone.get(name, self._bus.clock())
        else:
            ended = _ENDS.get(slot.life.state, "returned")
            at = self._records[name].since
        return ContainerEnd(container_id=name.removeprefix(NAME_PREFIX), name=name, ended=ended, at=at)

    async def until(self, done: Callable[[], bool]) -> None:
        """Waits until this is so; asked again after every transition."""
        await trio.lowlevel.checkpoint()
        while not done():
            await self.changed.park()

    def _remember(self, name: str) -> None:
        self._gone[name] = self._bus.clock()
        if len(self._gone) > REMEMBERED:
            del self._gone[next(iter(self._gone))]

    def _announce(
        self,
        slot: Slot,
        before: WireState | None,
        cause: str,
        spent: float,
        *,
        cold_start: float | None = None,
        wake: float | None = None,
    ) -> None:
        wall = self._bus.clock()
        life: Life = slot.life
        if life.state is State.DORMANT:
            slot.dormant_since = wall
        elif life.wire != "dormant":
            slot.dormant_since = None
        if life.state is not State.TERMINATED:
            self._records[slot.name] = ContainerRecord(
                id=slot.id,
                name=slot.name,
                state=life.wire,
                phase=life.state.value,
                image=slot.container.image,
                block_id=slot.block_id,
                execution_id=slot.execution_id,
                port=slot.port,
                created_at=slot.created,
                since=wall,
                dormant_since=slot.dormant_since,
                uses=slot.uses,
                last_error=slot.last_error,
            )
        self._bus.publish(
            ContainerStateChanged(
                container_id=slot.id,
                name=slot.name,
                from_state=before,
                to_state=life.wire,
                phase=life.state.value,
                block_id=slot.block_id,
                cause=cause,
                duration=spent,
                cold_start=cold_start,
                wake=wake,
            ),
            slot.execution_id,
        )
        self._revision += 1
        self._bus.publish(self.status())
        self.changed.unpark_all()
