"""What the pool does to one container at the runtime: bear it, wake it, pause it, remove it.

Each is a task of the pool's own nursery, which nobody outside can cancel; `slot.turn` lets one at a time touch a
container. A removal cancels the call under way and then waits for its turn, so that it comes after a create that
cannot be cut. Every way out of `bear` and `wake` ends in a healthy container or in a removal; a removal ends in
TERMINATED, or in QUARANTINED and further tries for as long as the pool lives.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

import trio

from warmlane.bus import Bus
from warmlane.errors import NeverHealthyError, PortTakenError, RuntimeSilentError, WarmlaneError
from warmlane.events import PullProgress
from warmlane.life.table import State, Step
from warmlane.pool.board import Board
from warmlane.pool.dormancy import DormancyManager
from warmlane.pool.health import wait_healthy
from warmlane.pool.slot import Slot
from warmlane.runtimes.protocol import Birth, Runtime
from warmlane.settings import Graces

FIRST_RETRY = 0.1
LONGEST_RETRY = 30.0
"""Seconds between two tries to remove a container; from the first to the longest, twice as long each time."""
TRIES_PER_GRACE = 2
"""So many calls that hang fit into the grace for a removal; one alone quarantines nothing. Not more: a runtime may
need some seconds to be sure."""


class Keeper:
    """Carries out at the runtime what the pool has decided.

    changed() is called when a container has become available or gone; failed(slot, error) when one could not be born
    or woken: the pool takes the step STOP and asks for its removal.
    """

    def __init__(
        self,
        runtime: Runtime,
        bus: Bus,
        board: Board,
        dormancy: DormancyManager,
        graces: Graces,
        owner: str,
        session_id: str,
        *,
        changed: Callable[[], None],
        failed: Callable[[Slot, WarmlaneError], None],
    ) -> None:
        self._runtime = runtime
        self._bus = bus
        self._board = board
        self._dormancy = dormancy
        self._graces = graces
        self._owner = owner
        self._session_id = session_id
        self._changed = changed
        self._failed = failed
        self._closing = False
        self._again = trio.Event()
        """Set when what is quarantined is to be tried at once; then there is a new one."""
        self.given_up: set[str] = set()
        """The containers that could not be confirmed gone before the pool closed."""

    async def bear(self, slot: Slot) -> None:
        """STARTING to IDLE, or to a removal."""
        if await self._done(slot, State.STARTING, self._bring_up):
            slot.woken = False
            took = trio.current_time() - slot.awaited_since
            self._board.take(slot, Step.HEALTHY, cause="healthy", cold_start=took)
            self._changed()

    async def wake(self, slot: Slot) -> None:
        """WAKING to IDLE, or to a removal; whoever is in line gets another container then."""
        if await self._done(slot, State.WAKING, self._thaw):
            slot.woken = True
            took = trio.current_time() - slot.awaited_since
            self._board.take(slot, Step.HEALTHY, cause="woken", wake=took)
            self._changed()

    async def pause(self, slot: Slot) -> None:
        """PAUSING to DORMANT with its timer running, or to a removal."""
        if await self._done(slot, State.PAUSING, self._freeze):
            self._board.take(slot, Step.PAUSED, cause="paused")
            self._dormancy.watch(slot.name, slot.dormancy_timeout)
            self._changed()

    async def restore(self, slot: Slot, states: Collection[State]) -> None:
        """Somebody has frozen or thawed it behind our back: as it was before, while it is in one of these states; or
        to a removal."""
        error: WarmlaneError | None = None
        async with slot.turn:
            if slot.life.state not in states:
                return
            with trio.CancelScope() as slot.operation:
                try:
                    if slot.at(State.DORMANT):
                        await self._freeze(slot)
                    else:
                        await self._thaw(slot)
                except WarmlaneError as said:
                    error = said
        if error is not None and slot.life.state in states:
            self._failed(slot, error)

    async def remove(self, slot: Slot) -> None:
        """STOPPING to TERMINATED; if the runtime does not confirm it in time, QUARANTINED, and again until it does or
        the pool closes."""
        retry = FIRST_RETRY
        with trio.move_on_after(self._graces.remove):
            while not await self._removed(slot):
                await trio.sleep(retry)
                retry = min(2 * retry, LONGEST_RETRY)
            return
        self._board.take(slot, Step.UNCONFIRMED, cause=slot.last_error or "removal not confirmed in time")
        self._changed()
        last = self._closing
        while not last:
            if not self._closing:
                with trio.move_on_after(retry):
                    await self._again.wait()
            last = self._closing
            with trio.move_on_after(self._graces.remove):
                if await self._removed(slot):
                    return
            retry = min(2 * retry, LONGEST_RETRY)
        self.given_up.add(slot.name)
        self._board.changed.unpark_all()

    def close(self) -> None:
        """What is quarantined is tried once more now, and then given up."""
        self._closing = True
        self.hasten()

    def hasten(self) -> None:
        """What is quarantined is tried once more now."""
        self._again.set()
        self._again = trio.Event()

    async def _removed(self, slot: Slot) -> bool:
        """One try. One that hangs does not use up the whole grace: a host that is asked again often answers."""
        if slot.operation is not None:
            slot.operation.cancel()
        with trio.move_on_after(self._graces.remove / TRIES_PER_GRACE) as bound:
            async with slot.turn:
                try:
                    await self._runtime.remove(slot.name)
                except WarmlaneError as error:
                    slot.last_error = str(error)
                    return False
        if bound.cancelled_caught:
            slot.last_error = "its removal was not confirmed in time"
            return False
        self._board.take(slot, Step.GONE, cause="removed")
        self._changed()
        return True

    async def _done(self, slot: Slot, state: State, action: Callable[[Slot], Awaitable[None]]) -> bool:
        """Carries out one action in its turn. False if the container was told to stop before or meanwhile, or if the
        action failed, which is then reported."""
        error: WarmlaneError | None = None
        async with slot.turn:
            if not slot.at(state):
                return False
            with trio.CancelScope() as slot.operation:
                try:
                    await action(slot)
                except WarmlaneError as said:
                    error = said
        if not slot.at(state):
            return False
        if error is not None:
            self._failed(slot, error)
        return error is None

    async def _bring_up(self, slot: Slot) -> None:
        await self._prepare(slot)
        slot.awaited_since = trio.current_time()
        with trio.move_on_after(self._graces.birth) as bound:
            await self._create_and_start(slot)
        if bound.cancelled_caught:
            raise RuntimeSilentError("create and start a container", f"none within {self._graces.birth:g} s")
        await self._healthy(slot)

    async def _thaw(self, slot: Slot) -> None:
        with trio.move_on_after(self._graces.wake) as bound:
            await self._runtime.unpause(slot.name)
            await wait_healthy(self._runtime, self._runtime.agent(slot.name), self._birth(slot))
        if bound.cancelled_caught:
            raise NeverHealthyError(slot.name, slot.container.image, "it could not be woken in time")

    async def _freeze(self, slot: Slot) -> None:
        with trio.move_on_after(self._graces.settle) as bound:
            await self._runtime.pause(slot.name)
        if bound.cancelled_caught:
            raise NeverHealthyError(slot.name, slot.container.image, "it could not be paused in time")

    async def _prepare(self, slot: Slot) -> None:
        """A pull takes as long as it takes; but each word of it has its time."""
        patience = self._graces.pull

        def tell(progress: PullProgress) -> None:
            bound.deadline = trio.current_time() + patience
            self._bus.publish(progress)

        with trio.move_on_after(patience) as bound:
            await self._runtime.prepare(slot.container, tell)
        if bound.cancelled_caught:
            raise RuntimeSilentError(f"pull {slot.container.image}", f"no progress for {patience:g} s")

    async def _create_and_start(self, slot: Slot) -> None:
        refused: set[int] = set()
        while True:
            try:
                await self._runtime.create(self._birth(slot))
                await self._runtime.start(slot.name)
            except PortTakenError as error:
                with trio.move_on_after(self._graces.remove) as bound:
                    await self._runtime.remove(slot.name)  # noqa: ASYNC120 - the refusal has been heeded
                if bound.cancelled_caught:
                    raise RuntimeSilentError(f"remove {slot.name}", "no answer in time") from error
                refused.add(error.port)
                self._board.move_port(slot, refused)
            else:
                return

    async def _healthy(self, slot: Slot) -> None:
        with trio.move_on_after(self._graces.health) as bound:
            await wait_healthy(self._runtime, self._runtime.agent(slot.name), self._birth(slot))
        if bound.cancelled_caught:
            said = f"it did not answer /health within {self._graces.health:g} s"
            tail = await self._log_tail(slot)
            raise NeverHealthyError(slot.name, slot.container.image, said, log_tail=tail)

    async def _log_tail(self, slot: Slot) -> str:
        with trio.move_on_after(self._graces.settle):
            try:
                return await self._runtime.log_tail(slot.name)
            except WarmlaneError:
                return ""  # the error that is being told matters more
        return ""

    def _birth(self, slot: Slot) -> Birth:
        return Birth(
            name=slot.name,
            container=slot.container,
            session_id=self._session_id,
            owner=self._owner,
            port=slot.port,
            token=slot.token,
        )
