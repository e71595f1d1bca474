"""The fake runtime: containers simulated in memory, on Trio's clock, without threads, sockets and processes.

It keeps `runtimes/protocol.py` like the real ones and passes the same contract suite, so that everything above it can
be tested on a mock clock; faults are ordered at its `host`. It answers as Docker does where Docker's answer matters.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio
from attrs import define, field

from warmlane.agent.protocol import Agent
from warmlane.errors import ContainerFaultError, PortTakenError, RuntimeRefusedError
from warmlane.events import PullProgress
from warmlane.plan.model import Container
from warmlane.runtimes.fake_agent import FakeAgent
from warmlane.runtimes.fake_blocks import BlockFunction, Run, ServiceFunction
from warmlane.runtimes.fake_box import ImageKind, Pace
from warmlane.runtimes.fake_host import FakeHost, open_fake_host, wait_until
from warmlane.runtimes.protocol import Birth, Found, Sighting

PULL_STEPS = 4
IMAGE_BYTES = 40_000_000


@define(eq=False)
class _Pull:
    """One pull and all who wait for it; it goes on as long as somebody does."""

    image: str
    listeners: list[Callable[[PullProgress], None]] = field(factory=list[Callable[[PullProgress], None]])
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    done: trio.Event = field(factory=trio.Event)

    def tell(self, status: str, current: int) -> None:
        for listener in self.listeners:
            listener(PullProgress(image=self.image, status=status, current=current, total=IMAGE_BYTES))


class FakeRuntime:
    """One session's view of a `FakeHost`."""

    kind = "fake"

    def __init__(self, host: FakeHost) -> None:
        self.host = host
        self._mine: set[str] = set()
        self._pulls: dict[str, _Pull] = {}

    def vet(self, container: Container) -> str | None:
        """It can run anything."""
        return None

    def port_is_free(self, port: int) -> bool:
        """Always: a foreign port shows when it is tried, which is the harder case."""
        return True

    async def prepare(self, container: Container, progress: Callable[[PullProgress], None]) -> None:
        """As the protocol says."""
        image = container.image or ""
        await self.host.perform("prepare", image, self.host.pace.look, lambda: None)
        if self.host.images.get(image) in ("remote", "missing"):
            await self._pull(image, progress)
        if self.host.images.get(image) == "missing":
            raise ContainerFaultError(image, image, f"pull access denied for {image}, repository does not exist")

    async def _pull(self, image: str, progress: Callable[[PullProgress], None]) -> None:
        pull = self._pulls.get(image)
        if pull is None:
            pull = self._pulls[image] = _Pull(image)
            self.host.world.start_soon(self._download, pull)
        pull.listeners.append(progress)
        try:
            await pull.done.wait()
        finally:
            pull.listeners.remove(progress)
            if not pull.listeners:
                pull.scope.cancel()
                self._pulls.pop(image, None)

    async def _download(self, pull: _Pull) -> None:
        with pull.scope:
            began = trio.current_time()
            for step in range(PULL_STEPS):
                pull.tell("Downloading", IMAGE_BYTES * step // PULL_STEPS)
                await wait_until(began + self.host.pace.pull * (step + 1) / PULL_STEPS)
                if self.host.images[pull.image] == "missing":
                    break
            else:
                pull.tell("Pull complete", IMAGE_BYTES)
                self.host.images[pull.image] = "here"
            pull.done.set()

    async def create(self, birth: Birth) -> None:
        """As the protocol says."""
        self._mine.add(birth.name)

        def act() -> None:
            if birth.name in self.host.boxes:
                raise RuntimeRefusedError(f"create {birth.name}", "that name is already in use", status=409)
            self.host.add(birth)

        await self.host.perform("create", birth.name, self.host.pace.create, act, whole=True)

    async def start(self, name: str) -> None:
        """As the protocol says."""

        def act() -> None:
            box = self.host.box(name)
            if box.state == "paused":
                raise RuntimeRefusedError(f"start {name}", "cannot start a paused container", status=409)
            if box.state != "running":
                self._claim_port(name)
                self.host.boot(box)

        await self.host.perform("start", name, self.host.pace.start, act, whole=True)

    def _claim_port(self, name: str) -> None:
        box = self.host.box(name)
        port, holder = box.birth.port, self.host.port_holder(box)
        if port is None:
            return
        if holder is not None and holder.birth.session_id == box.birth.session_id and not holder.disowned:
            self.host.violations.append(f"port {port} was given to {name} while {holder.birth.name} had it")
        if holder is not None or port in self.host.taken_ports:
            raise PortTakenError(port)

    def agent(self, name: str) -> Agent:
        """As the protocol says."""
        return FakeAgent(self.host, name)

    async def pause(self, name: str) -> None:
        """As the protocol says."""

        def act() -> None:
            box = self.host.box(name)
            if box.runs:
                self.host.violations.append(f"{name} was paused while a block ran in it")
            if not box.up:
                raise RuntimeRefusedError(f"pause {name}", f"the container is {box.state}", status=409)
            self.host.freeze(name)

        await self.host.perform("pause", name, self.host.pace.pause, act)

    async def unpause(self, name: str) -> None:
        """As the protocol says."""

        def act() -> None:
            self.host.box(name)
            self.host.thaw(name)

        await self.host.perform("unpause", name, self.host.pace.unpause, act)

    async def remove(self, name: str) -> None:
        """As the protocol says."""
        dying: list[Run] = await self.host.perform(
            "remove", name, self.host.pace.remove, lambda: self.host.drop(name)
        ) or self._deceived(name)
        for run in dying:
            await run.done.wait()

    def _deceived(self, name: str) -> list[Run]:
        """Told that it is gone, the engine is not to blame for what comes of it if it is not."""
        if name in self.host.boxes:
            self.host.boxes[name].disowned = True
        return []

    async def alive(self, name: str) -> bool:
        """As the protocol says."""

        def look() -> bool:
            return name in self.host.boxes and self.host.boxes[name].up

        return await self.host.perform("alive", name, self.host.pace.look, look)

    async def diagnose(self, name: str) -> str:
        """As the protocol says."""

        def look() -> str:
            box = self.host.boxes.get(name)
            return "it does not exist any more" if box is None else "it runs" if box.up else box.why

        return await self.host.perform("diagnose", name, self.host.pace.look, look)

    async def log_tail(self, name: str) -> str:
        """As the protocol says."""
        return await self.host.perform("log_tail", name, self.host.pace.look, lambda: self.host.box(name).log)

    async def owned(self) -> list[Found]:
        """As the protocol says."""
        return await self.host.perform("owned", "", self.host.pace.look, self.host.found)

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Sighting]]:
        """As the protocol says."""
        return self.host.watch(self._mine.__contains__)


@asynccontextmanager
async def open_fake_runtime(
    *,
    blocks: Mapping[str, BlockFunction] | None = None,
    service: ServiceFunction | None = None,
    images: Mapping[str, ImageKind] | None = None,
    pace: Pace | None = None,
    blocks_at_once: int | None = 1,
) -> AsyncGenerator[FakeRuntime]:
    """A fake runtime on a host of its own (see `open_fake_host`), which is at its `host`."""
    async with open_fake_host(
        blocks=blocks, service=service, images=images, pace=pace, blocks_at_once=blocks_at_once
    ) as host:
        yield FakeRuntime(host)
