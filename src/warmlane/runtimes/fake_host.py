"""A simulated container host on Trio's clock, without threads, sockets and processes: the world beside the engine.

`FakeHost` is what tests hold: it shows what exists (`leftovers`), what was asked (`calls`), what was asked wrongly
(`violations`), and lets happen what the outside world does (`kill`, `freeze`, `out_of_memory`, ...). The engine sees it
through `fake.FakeRuntime` and `fake_agent.FakeAgent`, which both put each call through `perform`.

Blocks, endings and late effects run in a nursery of the host's own that no cancellation of the engine reaches.
Cancelling a call hangs up; the host carries it out all the same, as a real daemon does, but for one that was
cancelled before it was sent.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Literal, TypeVar

import trio
from attrs import define

from warmlane.agent.protocol import BlockCall, Response
from warmlane.errors import ContainerLostError, RuntimeSilentError, WarmlaneError
from warmlane.nursery import open_service_nursery
from warmlane.runtimes.fake_blocks import BlockFunction, Run, ServiceFunction
from warmlane.runtimes.fake_box import Box, BoxState, ImageKind, Pace
from warmlane.runtimes.fake_faults import AGENT_CALLS, Call, Fault, Faults, Kind
from warmlane.runtimes.protocol import Birth, Found, Sighting

T = TypeVar("T")


@define
class _Watcher:
    tell: trio.MemorySendChannel[Sighting]
    cares: Callable[[str], bool]


class FakeHost:
    """The host and everything on it. Made by `open_fake_host`.

    faults: consulted at each call; a `Faults` unless a function of your own is set.
    taken_ports: host ports that processes of others hold.
    images: those not named are `here`.
    """

    def __init__(
        self,
        *,
        blocks: Mapping[str, BlockFunction],
        service: ServiceFunction | None,
        images: Mapping[str, ImageKind],
        pace: Pace,
        blocks_at_once: int | None,
    ) -> None:
        self.blocks = dict(blocks)
        self.service: ServiceFunction = service or (lambda _request: Response(status=200, headers={}, body=None))
        self.images = dict(images)
        self.pace = pace
        self.blocks_at_once = blocks_at_once
        self.orders = Faults()
        self.faults: Callable[[Call], Fault | None] = self.orders
        self.taken_ports: set[int] = set()
        self.calls: list[Call] = []
        self.violations: list[str] = []
        self.boxes: dict[str, Box] = {}
        self._under_way: dict[int, Call] = {}
        self._watchers: list[_Watcher] = []
        self._blind = False
        self._running: list[Run] = []
        self._runs_seen: set[str] = set()
        self._world: trio.Nursery | None = None

    # What there is to see.

    def leftovers(self) -> list[str]:
        """A sentence for each container, running block, call under way and watch that still exists."""
        return [
            *(f"container {name} is {box.state}" for name, box in self.boxes.items()),
            *(f"block {run.call.block_id} runs in {run.container}" for run in self._running),
            *(f"'{call.kind} {call.name}' is under way" for call in self._under_way.values()),
            *("a watch is open" for _ in self._watchers),
        ]

    def names(self, state: BoxState | None = None) -> list[str]:
        """The containers in that state, or all, in order of creation."""
        return [name for name, box in self.boxes.items() if state in (None, box.state)]

    def running_blocks(self) -> list[str]:
        """The ids of the blocks that run, in any container."""
        return [run.call.block_id for run in self._running]

    def running(self) -> list[Run]:
        """The blocks that run, in any container."""
        return list(self._running)

    def asked(self, *kinds: Kind, name: str | None = None) -> list[Call]:
        """The calls of these kinds so far, in order."""
        return [call for call in self.calls if call.kind in kinds and name in (None, call.name)]

    # What the outside world does.

    def kill(self, name: str) -> None:
        """Its first process dies, and all others with it."""
        self._die(self.boxes[name], "it was killed by SIGKILL")

    def remove_behind_back(self, name: str) -> None:
        """Somebody else removes it."""
        self.drop(name)

    def forget(self, name: str) -> None:
        """The host loses it, and says nothing."""
        box = self.boxes.pop(name)
        self._end_all(box)
        box.state = "dead"
        box.changed.unpark_all()

    def freeze(self, name: str) -> None:
        """Somebody pauses it."""
        box = self.boxes[name]
        if box.state == "running":
            box.state = "paused"
            self.tell("paused", name)

    def thaw(self, name: str) -> None:
        """Somebody unpauses it."""
        box = self.boxes[name]
        if box.state == "paused":
            box.state = "running"
            self.tell("unpaused", name)
            box.changed.unpark_all()

    def silence(self, name: str) -> None:
        """Its agent accepts from now on, and says nothing."""
        self.boxes[name].silent = True

    def out_of_memory(self, name: str, block_id: str | None = None) -> None:
        """The kernel kills this block for memory; without one, the whole container."""
        self.tell("oom", name)
        if block_id is None:
            self._die(self.boxes[name], "it was killed for exceeding its memory limit")
            return
        for run in self.boxes[name].runs.values():
            if run.call.block_id == block_id:
                run.kill(oom=True)

    def lose_sight(self) -> None:
        """The watch is interrupted: what happens now is not told."""
        self._blind = True

    def regain_sight(self) -> None:
        """The watch is back, and says `resync`."""
        self._blind = False
        for watcher in self._watchers:
            watcher.tell.send_nowait(Sighting(kind="resync"))

    # For FakeRuntime and FakeAgent.

    async def perform(
        self,
        kind: Kind,
        name: str,
        seconds: float,
        act: Callable[[], T],
        *,
        ready: Callable[[], Awaitable[None]] | None = None,
        whole: bool = False,
    ) -> T:
        """One call: takes its time, waits until `ready`, acts, answers; or whatever its fault says. `whole` ones
        cannot be cut."""
        await trio.lowlevel.checkpoint_if_cancelled()
        call = Call(number=len(self.calls) + 1, kind=kind, name=name, at=trio.current_time())
        self.calls.append(call)
        fault = self.faults(call) or _NO_FAULT
        due = call.at + seconds + fault.delay
        self._under_way[call.number] = call
        answer: T = fault.answer
        try:
            with trio.CancelScope(shield=whole):
                try:
                    await wait_until(due)
                except trio.Cancelled:
                    # A daemon that has read the request goes on; an agent notices that nobody listens.
                    if kind not in AGENT_CALLS and fault.does and fault.late is None:
                        self._later(due, act)
                    raise
                if fault.does and fault.late is None:
                    if ready is not None:
                        await ready()
                    answer = act()
                if fault is not _NO_FAULT:
                    await self._suffer(call, fault, act, whole=whole)
        finally:
            del self._under_way[call.number]
        return answer

    async def _suffer(self, call: Call, fault: Fault, act: Callable[[], object], *, whole: bool) -> None:
        if fault.late is not None:
            self._later(trio.current_time() + fault.late, act)
        if fault.pause:
            await trio.sleep(fault.pause)
        if fault.hangs:
            await trio.sleep(self.pace.patience if whole else math.inf)
            raise RuntimeSilentError(f"{call.kind} {call.name}", "no answer in time")
        if fault.error:
            raise fault.error(call)

    def _later(self, due: float, act: Callable[[], object]) -> None:
        async def late() -> None:
            await wait_until(due)
            try:
                act()
            except WarmlaneError:  # nobody is left to hear it
                return

        self.world.start_soon(late)

    @property
    def world(self) -> trio.Nursery:
        """Where everything runs that the engine cannot cancel."""
        assert self._world is not None, "the fake host is not open"
        return self._world

    def box(self, name: str) -> Box:
        """That container; raises ContainerLostError if there is none."""
        try:
            return self.boxes[name]
        except KeyError:
            raise ContainerLostError(name, "no such container") from None

    def add(self, birth: Birth) -> Box:
        """A new container."""
        box = self.boxes[birth.name] = Box(birth=birth)
        return box

    def boot(self, box: Box) -> None:
        """Its first process starts."""
        image = self.images.get(box.birth.container.image or "", "here")
        box.state = "running"
        box.healthy_at = math.inf if image == "sick" else trio.current_time() + self.pace.boot
        if image == "no-python":
            box.log = "exec python3 failed: No such file or directory"
            self._die(box, "its image has no python3, which the agent needs; take one that has it")

    def port_holder(self, box: Box) -> Box | None:
        """Another live container that has its port."""
        for other in self.boxes.values():
            if other is not box and other.up and other.birth.port == box.birth.port:
                return other
        return None

    def drop(self, name: str) -> list[Run]:
        """Removes it from any state; returns its blocks, which are dying."""
        box = self.boxes.pop(name, None)
        if box is None:
            return []
        was_up, box.state = box.up, "dead"
        runs = self._end_all(box)
        if was_up:
            self.tell("died", name)
        self.tell("removed", name)
        box.changed.unpark_all()
        return runs

    def _die(self, box: Box, why: str) -> None:
        if box.up:
            box.state, box.why = "dead", why
            self._end_all(box)
            self.tell("died", box.birth.name)
            box.changed.unpark_all()

    def _end_all(self, box: Box) -> list[Run]:
        runs = list(box.runs.values())
        for run in runs:
            run.kill()
        return runs

    def begin(self, box: Box, call: BlockCall) -> Run:
        """Starts a block in it."""
        name = box.birth.name
        if call.run in self._runs_seen:
            self.violations.append(f"the run {call.run} was started twice")
        self._runs_seen.add(call.run)
        for other in box.runs.values():
            if other.call.execution_id != call.execution_id:
                self.violations.append(f"blocks of two executions met in {name}")
        if self.blocks_at_once is not None and len(box.runs) >= self.blocks_at_once:
            others = ", ".join(run.call.block_id for run in box.runs.values())
            self.violations.append(f"block {call.block_id} was started in {name} beside {others}")
        run = Run(call, name, box.changed.unpark_all)
        box.runs[call.run] = run
        self._running.append(run)
        self.world.start_soon(self._perform, box, run)
        return run

    async def _perform(self, box: Box, run: Run) -> None:
        try:
            await run.perform(self.blocks.get(run.call.block_id))
        finally:
            del box.runs[run.call.run]
            self._running.remove(run)

    def end_soon(self, run: Run) -> None:
        """SIGTERM, grace, SIGKILL, whoever goes away meanwhile."""

        async def ending() -> None:
            run.terminate()
            with trio.move_on_after(run.call.terminate_grace):
                await run.done.wait()
            run.kill()

        if not run.ending:
            run.ending = True
            self.world.start_soon(ending)

    def found(self) -> list[Found]:
        """All containers, as `owned` tells them."""
        return [
            Found(name=name, session_id=box.birth.session_id, owner=box.birth.owner, state=box.state)
            for name, box in self.boxes.items()
        ]

    def tell(self, kind: Literal["died", "removed", "paused", "unpaused", "oom"], name: str) -> None:
        """Announces it to the watchers."""
        if not self._blind:
            for watcher in self._watchers:
                if watcher.cares(name):
                    watcher.tell.send_nowait(Sighting(kind=kind, name=name))

    @asynccontextmanager
    async def watch(self, cares: Callable[[str], bool]) -> AsyncGenerator[AsyncIterator[Sighting]]:
        """What happens from now on to the containers somebody cares for."""
        tell, hear = trio.open_memory_channel[Sighting](math.inf)
        watcher = _Watcher(tell, cares)
        self._watchers.append(watcher)
        try:
            with tell, hear:
                yield hear
        finally:
            self._watchers.remove(watcher)

    async def exist(self, scope: trio.CancelScope, born: trio.Event) -> None:
        """Runs the world until that scope is cancelled."""
        with scope:
            async with trio.open_nursery() as self._world:
                born.set()
                await trio.sleep_forever()


_NO_FAULT = Fault()


async def wait_until(due: float) -> None:
    """Until trio's clock says so; one checkpoint if it already does."""
    if due > trio.current_time():
        await trio.sleep_until(due)
    else:
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_fake_host(
    *,
    blocks: Mapping[str, BlockFunction] | None = None,
    service: ServiceFunction | None = None,
    images: Mapping[str, ImageKind] | None = None,
    pace: Pace | None = None,
    blocks_at_once: int | None = 1,
) -> AsyncGenerator[FakeHost]:
    """A simulated host. `blocks` says what blocks do, by id; the others do nothing. More than `blocks_at_once` in one
    container is a violation (None: any number). Leaving it ends the world; raises AssertionError if there were
    violations."""
    host = FakeHost(
        blocks=blocks or {},
        service=service,
        images=images or {},
        pace=pace or Pace(),
        blocks_at_once=blocks_at_once,
    )
    scope, born = trio.CancelScope(shield=True), trio.Event()
    async with open_service_nursery() as nursery:
        nursery.start_soon(host.exist, scope, born)
        try:
            await born.wait()
            yield host
        finally:
            scope.cancel()
    _check(host.violations)


def _check(violations: Iterable[str]) -> None:
    if violations:
        raise AssertionError("the fake host was used wrongly: " + "; ".join(violations))
