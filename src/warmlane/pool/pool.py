"""The pool: leases of warm containers, below a cap, over any runtime.

Whoever wants a container stands in line; whenever anything has changed, `_match` asks the policy for the next move and
carries it out, synchronously, until there is none. So a slot is claimed before the first await, two callers can never
get one container, and the cap holds under any concurrency.

Cancellation: `acquire` cancelled holds nothing, and what was started for it stays in the pool. Everything else that
awaits is a task of the pool itself (`keeper.py`); it ends with `teardown`, which is bounded by `Graces.remove`.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable

import trio

from warmlane.bus import Bus
from warmlane.errors import (
    ContainerFaultError,
    NeverHealthyError,
    NoFreePortError,
    RuntimeSilentError,
    SessionClosedError,
    WarmlaneError,
)
from warmlane.events import PoolStatus
from warmlane.life.policy import Create, Lend, Replace, Sleep, Wake, hopeless, next_move, starving, surplus
from warmlane.life.stock import Ticket
from warmlane.life.table import State, Step
from warmlane.plan.model import Container
from warmlane.pool.board import Board
from warmlane.pool.dormancy import DormancyManager
from warmlane.pool.keeper import Keeper
from warmlane.pool.lease import Lease, Waiter, WarmOrder
from warmlane.pool.lookout import Lookout
from warmlane.pool.ports import PortBook
from warmlane.pool.slot import Slot
from warmlane.records import ContainerEnd, Start, StartCause
from warmlane.runtimes.protocol import Runtime
from warmlane.settings import Settings

BIRTHS_PER_WAITER = 2
"""A container that never becomes healthy is replaced once; then whoever waits for it is told, or no more of its kind
are made ahead of need."""
LAUNCH_PATIENCE = 1.0
"""Seconds that a lane waits for the rest of its containers when one is ready. A guess: some four births long."""
_DYING = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
"""Seconds before each look at a container whose agent does not answer any more. Docker tells of an end 0.04 to 0.08
seconds after it; the sum has room for a busy machine."""
_SETTLING = frozenset({State.COOLING, State.PAUSING, State.WAKING, State.STOPPING})


class Pool:
    """All containers of one session. Made by `open_pool`."""

    def __init__(
        self,
        runtime: Runtime,
        bus: Bus,
        settings: Settings,
        nursery: trio.Nursery,
        *,
        session_id: str,
        owner: str,
    ) -> None:
        self._runtime = runtime
        self._bus = bus
        self._settings = settings
        self._nursery = nursery
        self._board = Board(bus, PortBook(settings.ports, runtime.port_is_free), session_id, settings.max_containers)
        self._dormancy = DormancyManager(nursery, lambda name: self._stop(self._board[name], "expired"))
        self._keeper = Keeper(
            runtime,
            bus,
            self._board,
            self._dormancy,
            settings.graces,
            owner,
            session_id,
            changed=self._match,
            failed=self._failed,
        )
        self._lookout = Lookout(runtime, self._board, self._keeper, settings.graces, nursery, lost=self._lost)
        self._waiters: dict[Ticket, Waiter] = {}
        self._leases: dict[Lease, Slot] = {}
        self._orders: list[WarmOrder] = []
        self._specifications: dict[str, Container] = {}
        self._closed = False
        self._despairing = False

    def status(self) -> PoolStatus:
        """The pool as it is now."""
        return self._board.status()

    @property
    def left_behind(self) -> tuple[str, ...]:
        """The containers that could not be confirmed gone, by name; empty is what everybody wants."""
        return tuple(slot.name for slot in self._board)

    @property
    def closed(self) -> bool:
        """Whether it takes no new work any more."""
        return self._closed

    # Leases

    async def acquire(
        self,
        container: Container,
        *,
        block_id: str,
        execution_id: str,
        dormancy_timeout: float,
        since: float | None = None,
    ) -> Lease:
        """A container of this specification, at once if one is ready, else when the caller's turn comes.

        dormancy_timeout: seconds after its use until it is removed. since: the moment, on Trio's clock, from which the
        block counts as waiting, if not from now. Raises ContainerFaultError, RuntimeRefusedError
        or NoFreePortError if no such container can be had, SessionClosedError if the pool closes.
        """
        if self._closed:
            raise SessionClosedError
        ticket = self._board.line.join(container.key)
        self._specifications[container.key] = container
        waiter = self._waiters[ticket] = Waiter(
            container=container,
            ticket=ticket,
            block_id=block_id,
            execution_id=execution_id,
            dormancy_timeout=dormancy_timeout,
            joined_at=trio.current_time() if since is None else since,
        )
        self._match()
        waiter.waited = True
        try:
            await waiter.served.wait()
        except trio.Cancelled:
            if waiter.lease is not None:
                self.release(waiter.lease)
            self._leave(waiter)
            raise
        if waiter.error is not None:
            raise waiter.error
        assert waiter.lease is not None
        return waiter.lease

    def release(self, lease: Lease, *, at_once: bool = False) -> None:
        """Gives a container back with no process of its block in it: to the first in line, or to cool and be paused.

        at_once: without the grace, after an abort. Nothing happens if the container is gone, or going.
        """
        slot = self._leases.pop(lease, None)
        if slot is None or not slot.at(State.RUNNING):
            return
        next_in_line = self._board.line.first(slot.key)
        if next_in_line is not None and starving(self._board.stock, self._board.line, self._cap) is None:
            self._lend(slot, next_in_line, Step.HAND_OVER, "cooling")
            return
        self._board.take(slot, Step.RELEASE, cause="released")
        if at_once:
            self._sleep(slot, "released")
        else:
            slot.cooling = trio.CancelScope()
            self._nursery.start_soon(self._cool, slot, slot.cooling, name=f"cooling of {slot.name}")
        self._match()

    def condemn(self, lease: Lease, why: str) -> None:
        """Gives back a container that cannot be trusted any more (a block may still be in it): it is removed."""
        slot = self._leases.pop(lease, None)
        if slot is not None and slot.at(State.RUNNING):
            slot.last_error = why
            self._stop(slot, why)
            self._match()

    async def explain(self, lease: Lease, said: str) -> str:
        """Why a container has stopped answering: what is known or the host says about its end, else `said`.

        It is given a moment to die: its agent's connection breaks before the host knows.
        """
        slot = self._leases.get(lease)
        why: str | None = None
        with trio.move_on_after(self._settings.graces.settle):
            for pause in _DYING:
                await trio.sleep(pause)
                if slot is not None and slot.last_error is not None:
                    return slot.last_error
                try:
                    if not await self._runtime.alive(lease.name):
                        why = await self._runtime.diagnose(lease.name)
                        break
                except WarmlaneError as error:
                    return f"{said}; {error}"
        return (slot and slot.last_error) or why or said

    # Warmth

    def warm(self, wanted: Iterable[tuple[Container, int]], *, execution_id: str, dormancy_timeout: float) -> WarmOrder:
        """Begins to make so many containers of each specification exist, below the cap; until `cool_down`."""
        wanted = tuple(wanted)
        self._specifications.update((container.key, container) for container, _ in wanted)
        order = WarmOrder({container.key: number for container, number in wanted}, dormancy_timeout, execution_id)
        self._orders.append(order)
        self._match()
        return order

    async def warmed(self, keys: Collection[str]) -> None:
        """Waits until no container of these specifications is being born any more, so that a wide lane starts as one.

        A sick container holds nobody up for long: once another one is ready, it gets LAUNCH_PATIENCE.
        """
        stock = self._board.stock

        def count(state: State) -> int:
            return sum(stock.count(key, state) for key in keys)

        await self._board.until(lambda: count(State.IDLE) > 0 or count(State.STARTING) == 0)
        with trio.move_on_after(LAUNCH_PATIENCE):
            await self._board.until(lambda: count(State.STARTING) == 0)

    def cool_down(self, order: WarmOrder) -> None:
        """The order's execution is over: what nobody needs any more is paused."""
        self._orders.remove(order)
        self._match()

    def let_go(self, used: Collection[str], keys: Collection[str]) -> tuple[str, ...]:
        """A run has been cancelled, and stands in no line any more: what it used sleeps without the grace, and births
        of its specifications that nobody else needs are ended. Returns the names of these."""
        for name in used:
            slot = self._board.get(name)
            if slot is not None and slot.at(State.COOLING):
                self._sleep(slot, "cancelled")
        needless: list[str] = []
        for key in keys:
            number = surplus(self._board.stock, self._board.line, self._warm(), key)
            births = [slot for slot in self._board if slot.key == key and slot.at(State.STARTING)]
            for slot in births[len(births) - number :]:
                self._stop(slot, "the run that needed it was cancelled")
                needless.append(slot.name)
        return tuple(needless)

    def coming_to_rest(self, keys: Collection[str]) -> tuple[str, ...]:
        """The containers of these specifications that are being paused or removed, or were woken and may find that
        nobody needs them."""
        going = (State.WAKING, State.PAUSING, State.STOPPING)
        return tuple(slot.name for slot in self._board if slot.key in keys and slot.life.state in going)

    async def settled(self, names: Collection[str]) -> tuple[ContainerEnd, ...]:
        """Waits until each of these containers, given back before, is dormant, gone or quarantined (or in use by
        somebody else); then says what became of each."""
        await self._board.until(lambda: not any(self._state(name) in _SETTLING for name in names))
        return self.ends(names)

    def ends(self, names: Collection[str]) -> tuple[ContainerEnd, ...]:
        """What has become of these containers so far; `returned` is back in the pool, and not asleep yet."""
        return tuple(self._board.end_of(name) for name in names)

    # The end

    def hurry(self) -> None:
        """No more graces: every container is removed now, whatever runs in it."""
        self._close("hurried")

    async def teardown(self) -> None:
        """Removes every container, from any state; returns when each is confirmed gone, or quarantined."""
        self._close("teardown")
        await self._board.until(lambda: all(slot.name in self._keeper.given_up for slot in self._board))

    async def watch(self) -> None:
        """Listens to the host: what others do to containers behind our back is mended. Runs as long as the pool."""
        await self._lookout.watch()

    # Matching

    def _state(self, name: str) -> State | None:
        slot = self._board.get(name)
        return None if slot is None else slot.life.state

    @property
    def _cap(self) -> int:
        return self._settings.max_containers

    def _match(self) -> None:
        cap = self._cap
        while not self._closed:
            match next_move(self._board.stock, self._board.line, self._warm(), cap):
                case Lend(name, ticket):
                    slot = self._board[name]
                    self._lend(slot, ticket, Step.LEASE, self._cause(slot, self._waiters[ticket]))
                case Wake(name):
                    slot = self._board[name]
                    self._dormancy.forget(name)
                    slot.awaited_since = trio.current_time()
                    self._board.take(slot, Step.WAKE, cause="needed")
                    self._nursery.start_soon(self._keeper.wake, slot, name=f"waking {name}")
                case Create(key):
                    try:
                        self._create(key)
                    except NoFreePortError as error:
                        cap = len(self._board.stock)
                        if error.ours == 0:
                            self._blame(key, error)
                case Replace(name):
                    self._stop(self._board[name], "replaced")
                case Sleep(name):
                    self._sleep(self._board[name], "not needed")
                case None:
                    if self._waiters and not self._despairing and hopeless(self._board.stock, cap):
                        self._despairing = True
                        self._nursery.start_soon(self._despair, name="waiting for a removal")
                    return

    def _warm(self) -> dict[str, int]:
        targets: dict[str, int] = {}
        for order in self._orders:
            for key, number in order.targets.items():
                targets[key] = targets.get(key, 0) + number
        return targets

    def _create(self, key: str) -> None:
        first = self._board.line.first(key)
        timeouts = [order.dormancy_timeout for order in self._orders if key in order.targets]
        timeout = self._waiters[first].dormancy_timeout if first else max(timeouts)
        slot = self._board.claim(self._specifications[key], timeout, secrets.token_urlsafe(24), cause="needed")
        self._nursery.start_soon(self._keeper.bear, slot, name=f"birth of {slot.name}")

    def _cause(self, slot: Slot, waiter: Waiter) -> StartCause:
        if slot.at(State.COOLING):
            return "cooling"
        if not waiter.waited and slot.entered_at <= waiter.joined_at:
            return "hit"
        return "wake" if slot.woken else "cold"

    def _lend(self, slot: Slot, ticket: Ticket, step: Step, cause: StartCause) -> None:
        waiter = self._waiters.pop(ticket)
        self._board.line.serve(ticket)
        now = trio.current_time()
        waited = now - waiter.joined_at
        start = min(waited, now - slot.awaited_since) if cause in ("wake", "cold") else 0.0
        self._end_grace(slot)
        slot.dormancy_timeout = waiter.dormancy_timeout
        self._board.count(cause)
        self._board.take(slot, step, cause=cause, for_block=(waiter.block_id, waiter.execution_id))
        waiter.lease = Lease(
            container_id=slot.id,
            name=slot.name,
            agent=self._runtime.agent(slot.name),
            start=Start(cause=cause, queued=waited - start, start=start),
        )
        self._leases[waiter.lease] = slot
        waiter.served.set()

    def _end_grace(self, slot: Slot) -> None:
        if slot.cooling is not None:
            slot.cooling.cancel()
            slot.cooling = None

    def _sleep(self, slot: Slot, cause: str) -> None:
        self._end_grace(slot)
        self._board.take(slot, Step.PAUSE, cause=cause)
        self._nursery.start_soon(self._keeper.pause, slot, name=f"pausing {slot.name}")

    async def _cool(self, slot: Slot, scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(self._settings.pause_grace)
        if slot.cooling is scope and slot.at(State.COOLING):
            self._sleep(slot, "grace over")

    # Faults

    def _stop(self, slot: Slot, cause: str) -> None:
        self._dormancy.forget(slot.name)
        self._end_grace(slot)
        self._board.take(slot, Step.STOP, cause=cause)
        self._nursery.start_soon(self._keeper.remove, slot, name=f"removing {slot.name}")

    def _close(self, cause: str) -> None:
        self._closed = True
        self._keeper.close()
        for waiter in tuple(self._waiters.values()):
            self._refuse(waiter, SessionClosedError())
        for slot in self._board:
            if slot.life.allows(Step.STOP):
                self._stop(slot, cause)

    def _failed(self, slot: Slot, error: WarmlaneError) -> None:
        born = not slot.at(State.STARTING)
        slot.last_error = str(error)
        self._stop(slot, str(error))
        if not born:
            self._blame(slot.key, error)
        self._match()

    def _blame(self, key: str, error: WarmlaneError) -> None:
        """A container of this specification could not be born. Whoever waits first for one bears it."""
        ticket = self._board.line.first(key)
        lasting = not isinstance(error, NeverHealthyError) and isinstance(error, ContainerFaultError | NoFreePortError)
        for order in self._orders:
            order.failures[key] += 1
            if lasting or (ticket is None and order.failures[key] >= BIRTHS_PER_WAITER):
                order.targets.pop(key, None)
        if ticket is None:
            return
        waiter = self._waiters[ticket]
        waiter.failures += 1
        if lasting or waiter.failures >= BIRTHS_PER_WAITER:
            self._refuse(waiter, error)

    async def _despair(self) -> None:
        """Nobody in line can be served before the host confirms a removal: it is asked once more, and given time; then
        whoever waits is told, for it may never do so."""
        self._keeper.hasten()
        with trio.move_on_after(self._settings.graces.remove):
            await self._board.until(lambda: not hopeless(self._board.stock, self._cap))
        self._despairing = False
        if not hopeless(self._board.stock, self._cap):
            return
        said = next(slot.last_error for slot in self._board)
        error = RuntimeSilentError("remove a container", f"there is no place left but of those: {said}")
        for waiter in tuple(self._waiters.values()):
            del self._waiters[waiter.ticket]
            self._board.line.leave(waiter.ticket)
            waiter.error = error
            waiter.served.set()

    def _refuse(self, waiter: Waiter, error: WarmlaneError) -> None:
        self._leave(waiter)
        waiter.error = error
        waiter.served.set()

    def _leave(self, waiter: Waiter) -> None:
        self._waiters.pop(waiter.ticket, None)
        self._board.line.leave(waiter.ticket)
        self._match()

    def _lost(self, slot: Slot, why: str) -> None:
        slot.last_error = why
        self._stop(slot, why)
        self._match()
