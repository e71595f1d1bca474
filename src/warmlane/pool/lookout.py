"""Follows what the host says of our containers, and mends what others have done to them.

A sighting is a hint, and our own calls echo among them: one that does not fit what we believe puts the container in
doubt, and then the host is asked. Who has died is given up; who was frozen while in use is thawed, who was thawed in
its sleep is frozen again. While the host does not answer, the doubt stays, and it is asked again; also,
a few times, if its list does not fit the sighting: Docker tells of a pause before its list does.

Sightings may be lost without a word. So the host is asked about all of them once in a PERIOD, too; while there are no
containers, not even that.

Cancellation: tasks of the pool; nothing to undo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import trio
from attrs import frozen

from warmlane.errors import WarmlaneError
from warmlane.life.table import State
from warmlane.pool.board import Board
from warmlane.pool.keeper import Keeper
from warmlane.pool.slot import Slot
from warmlane.runtimes.protocol import Found, Runtime, Sighting
from warmlane.settings import Graces

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 5.0
"""Seconds between two looks at what is in doubt; from the first to the longest, twice as long each time."""
PERIOD = 30.0
"""Seconds after which all are in doubt, whatever was sighted. One list of the host's own: some milliseconds."""

_AWAKE = frozenset({State.IDLE, State.RUNNING, State.COOLING})
_MOVING = frozenset({State.PAUSING, State.WAKING})
"""Between the two: whether they fit can only be said afterwards. Who bears or removes a container sees for himself
what becomes of it."""
_AT_REST = _AWAKE | {State.DORMANT}
_DOUBTS: Mapping[str, frozenset[State]] = {
    "died": _AT_REST | _MOVING,
    "removed": _AT_REST | _MOVING,
    "resync": _AT_REST | _MOVING,
    "paused": _AWAKE | {State.WAKING},
    "unpaused": frozenset({State.PAUSING, State.DORMANT}),
}
"""In which states a sighting is not what we have done ourselves."""
_FITTING = {"paused": "paused", "unpaused": "running"}


@frozen
class _Doubt:
    """What was sighted, and how often it may be looked again for a list that fits it."""

    kind: str
    looks: int = 4


class Lookout:
    """One pool's eyes. lost(slot, why) is called when a container has turned out to be dead."""

    def __init__(
        self,
        runtime: Runtime,
        board: Board,
        keeper: Keeper,
        graces: Graces,
        nursery: trio.Nursery,
        *,
        lost: Callable[[Slot, str], None],
    ) -> None:
        self._runtime = runtime
        self._board = board
        self._keeper = keeper
        self._graces = graces
        self._nursery = nursery
        self._lost = lost
        self._doubtful: dict[str, _Doubt] = {}
        self._news = trio.Event()

    async def watch(self) -> None:
        """Runs as long as the pool."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look, name="looking at containers in doubt")
            nursery.start_soon(self._doubt, name="doubting from time to time")
            async with self._runtime.watch() as sightings:
                async for sighting in sightings:
                    self._hear(sighting)

    def _hear(self, sighting: Sighting) -> None:
        states = _DOUBTS.get(sighting.kind, frozenset())
        for slot in self._board:
            if (sighting.kind == "resync" or slot.name == sighting.name) and slot.life.state in states:
                self._doubtful[slot.name] = _Doubt(sighting.kind)
        if self._doubtful:
            self._news.set()

    async def _doubt(self) -> None:
        while True:
            await trio.sleep(PERIOD)
            self._hear(Sighting(kind="resync"))

    async def _look(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            pause = FIRST_PAUSE
            while self._doubtful:
                doubts, self._doubtful = self._doubtful, {}
                self._doubtful = await self._look_at(doubts) | self._doubtful
                if self._doubtful:
                    await trio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)

    async def _look_at(self, doubts: Mapping[str, _Doubt]) -> dict[str, _Doubt]:
        """Looks, and acts on what it sees. Returns what is in doubt still."""
        slots = [slot for name in doubts if (slot := self._board.get(name)) is not None]
        left = {slot.name: doubts[slot.name] for slot in slots if slot.life.state in _AT_REST | _MOVING}
        resting = {slot: slot.entered_at for slot in slots if slot.life.state in _AT_REST}
        if resting:
            with trio.move_on_after(self._graces.settle):
                try:
                    found = {found.name: found for found in await self._runtime.owned()}
                    for slot, since in resting.items():
                        if slot.entered_at != since:
                            continue  # it has moved while the host made its list; looked at again
                        seen = found.get(slot.name)
                        await self._judge(slot, seen)
                        doubt = left.pop(slot.name)
                        if seen is not None and seen.state != _FITTING.get(doubt.kind, seen.state) and doubt.looks:
                            left[slot.name] = _Doubt(doubt.kind, doubt.looks - 1)
                except WarmlaneError:
                    pass  # the host does not answer; asked again
        return left

    async def _judge(self, slot: Slot, found: Found | None) -> None:
        if found is None or found.state not in ("running", "paused"):
            why = await self._runtime.diagnose(slot.name)
            if slot.life.state in _AT_REST | _MOVING and why != "it runs":
                self._lost(slot, why)
        elif found.state == "paused" and slot.life.state in _AWAKE:
            self._nursery.start_soon(self._keeper.restore, slot, _AWAKE, name=f"thawing {slot.name} again")
        elif found.state == "running" and slot.at(State.DORMANT):
            self._nursery.start_soon(self._keeper.restore, slot, {State.DORMANT}, name=f"freezing {slot.name} again")
