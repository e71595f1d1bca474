"""The places that the contract is held against: the fake, local processes, and Docker over both transports."""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import pytest
import trio
from attrs import define, field, frozen

from warmlane.agent.protocol import BlockCall, Exit, LogLine
from warmlane.errors import ContainerLostError
from warmlane.plan.model import Container, Transport
from warmlane.runtimes import open_runtime
from warmlane.runtimes.fake import open_fake_runtime
from warmlane.runtimes.fake_blocks import FakeCall, fails, prints
from warmlane.runtimes.owner import owner_label
from warmlane.runtimes.protocol import Birth, Found, Runtime

PLACES = (
    "fake",
    "process-tcp",
    "process-unix",
    pytest.param("docker-tcp", marks=pytest.mark.docker),
    pytest.param("docker-unix", marks=pytest.mark.docker),
)


@frozen
class Work:
    """What a block does: as a function for the fake, and as Python for the real ones."""

    fake: Callable[[FakeCall], Any]
    real: str


async def is_stubborn(call: FakeCall) -> None:
    call.log("sleeping")
    with call.ignore_sigterm():
        await trio.sleep(60)


WRITE = "import json, os; write = lambda value: json.dump(value, open(os.environ['WARMLANE_OUTPUT'], 'w'));"
WORK = {
    "hello": Work(
        prints(["hello", "world"], output={"n": 1}), WRITE + "print('hello'); print('world'); write({'n': 1})"
    ),
    "echo": Work(lambda call: call.input, WRITE + "write(json.load(open(os.environ['WARMLANE_INPUT'])))"),
    "fails": Work(fails("it failed", code=3), "raise SystemExit(3)"),
    "sleeps": Work(prints(["sleeping"], every=60), "print('sleeping', flush=True); import time; time.sleep(60)"),
    "stubborn": Work(
        is_stubborn,
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('sleeping', flush=True); time.sleep(60)",
    ),
}


@define
class Place:
    """One runtime, open for a session, and what tests need around it."""

    kind: str
    runtime: Runtime
    session_id: str
    image: str | None
    transport: Transport
    kill: Callable[[str], Awaitable[None]]
    """Its first process dies, by no doing of ours."""
    take_port: Callable[[int], None]
    """Somebody else listens on that port."""
    _numbers: itertools.count[int] = field(factory=itertools.count)

    def container(self, **more: Any) -> Container:
        return Container(image=self.image, transport=self.transport, **more)

    def birth(self, **more: Any) -> Birth:
        """All that is needed for a new container."""
        said: dict[str, Any] = {
            "name": f"wl-{self.session_id}-{next(self._numbers)}",
            "container": self.container(),
            "session_id": self.session_id,
            "owner": owner_label(),
            "port": free_port() if self.transport == "tcp" else None,
            "token": secrets.token_hex(8),
        }
        return Birth(**(said | more))

    @asynccontextmanager
    async def born(self, **more: Any) -> AsyncGenerator[str]:
        """A container that is healthy; removed on leaving, whatever has become of it."""
        birth = self.birth(**more)
        try:
            await self.runtime.prepare(birth.container, lambda _progress: None)
            await self.runtime.create(birth)
            await self.runtime.start(birth.name)
            await self.healthy(birth.name)
            yield birth.name
        finally:
            with trio.move_on_after(20, shield=True):
                await self.runtime.remove(birth.name)

    async def healthy(self, name: str) -> None:
        """Returns when it answers."""
        agent = self.runtime.agent(name)
        with trio.fail_after(30):
            while True:
                try:
                    return await agent.health()
                except ContainerLostError:
                    await trio.sleep(0.01)

    async def found(self, name: str) -> Found | None:
        """What `owned` says of it."""
        ours = [container for container in await self.runtime.owned() if container.session_id == self.session_id]
        return next((container for container in ours if container.name == name), None)

    async def die(self, name: str) -> None:
        """Kills it, and returns when the runtime knows."""
        await self.kill(name)
        with trio.fail_after(10):
            while await self.runtime.alive(name):  # noqa: ASYNC110 - it is the runtime that is being asked
                await trio.sleep(0.01)

    async def block(
        self,
        name: str,
        block_id: str,
        *,
        value: Any = None,
        run: str | None = None,
        on_log: Callable[[LogLine], None] | None = None,
    ) -> Exit:
        """Runs that piece of WORK in that container, with that input."""
        call = BlockCall(
            run=run or f"run-{next(self._numbers)}",
            execution_id="e1",
            block_id=block_id,
            attempt=1,
            command=("python3", "-c", WORK[block_id].real),
            input=value,
            output_limit=10_000,
            terminate_grace=0.2,
        )
        return await self.runtime.agent(name).run(call, on_log or (lambda _line: None))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def kill_in_docker(name: str) -> None:
    client = docker.APIClient(base_url=os.environ["DOCKER_HOST"], version="1.41")
    client.kill(name)
    client.close()


def kill_process(name: str) -> None:
    """The agent is the one process that was told where the run directory of this container is."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and f"{name}/agent.json".encode() in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)


@pytest.fixture(params=PLACES)
def place_name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One of PLACES; skipped (or failed, where Docker is required) if it cannot be had here."""
    name: str = request.param
    if name.startswith("docker"):
        monkeypatch.setenv("DOCKER_HOST", request.getfixturevalue("docker_url"))
        request.getfixturevalue("no_container_left")
    return name


@pytest.fixture
async def place(place_name: str, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """One runtime, open."""
    kind, _, transport = place_name.partition("-")
    session_id = secrets.token_hex(4)
    squatters: list[socket.socket] = []

    def take_port(port: int) -> None:
        squatter = socket.socket()
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        squatters.append(squatter)

    if kind == "fake":
        async with open_fake_runtime(blocks={name: work.fake for name, work in WORK.items()}) as fake:

            async def kill_fake(name: str) -> None:
                fake.host.kill(name)

            yield Place(kind, fake, session_id, "x", "tcp", kill_fake, fake.host.taken_ports.add)
        return
    async with open_runtime(kind, session_id=session_id, owner=owner_label()) as runtime:
        image = request.getfixturevalue("python_image") if kind == "docker" else None

        async def kill(name: str) -> None:
            await trio.to_thread.run_sync(kill_in_docker if kind == "docker" else kill_process, name)

        yield Place(kind, runtime, session_id, image, "unix" if transport == "unix" else "tcp", kill, take_port)
        for squatter in squatters:
            squatter.close()
