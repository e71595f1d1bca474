"""Docker as it is: a runtime on the daemon, and the daemon's own view of what the runtime made."""

from __future__ import annotations

import itertools
import secrets
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import docker
import pytest
import trio
from attrs import define, field

from warmlane.agent.protocol import BlockCall, Exit, LogLine
from warmlane.errors import ContainerLostError
from warmlane.plan.model import Container
from warmlane.runtimes.docker import DockerRuntime, open_docker
from warmlane.runtimes.owner import owner_label
from warmlane.runtimes.protocol import Birth


@define
class Bench:
    """A Docker runtime, open for a session, and what tests need around it."""

    runtime: DockerRuntime
    session_id: str
    image: str
    _numbers: itertools.count[int] = field(factory=itertools.count)

    def birth(self, **said: Any) -> Birth:
        """A new container with what is said of it; `unix` unless it says otherwise."""
        container = Container(**({"image": self.image, "transport": "unix"} | said))
        return Birth(
            name=f"wl-{self.session_id}-{next(self._numbers)}",
            container=container,
            session_id=self.session_id,
            owner=owner_label(),
            port=free_port() if container.transport == "tcp" else None,
            token=secrets.token_hex(8),
        )

    @asynccontextmanager
    async def born(self, birth: Birth | None = None, *, healthy: bool = True, **said: Any) -> AsyncGenerator[str]:
        """A container that is healthy; removed on leaving, whatever has become of it."""
        birth = birth or self.birth(**said)
        try:
            await self.runtime.prepare(birth.container, lambda _progress: None)
            await self.runtime.create(birth)
            await self.runtime.start(birth.name)
            if healthy:
                await self.healthy(birth.name)
            yield birth.name
        finally:
            with trio.move_on_after(20, shield=True):
                await self.runtime.remove(birth.name)

    async def healthy(self, name: str) -> None:
        """Returns when it answers."""
        with trio.fail_after(30):
            while True:
                try:
                    return await self.runtime.agent(name).health()
                except ContainerLostError:
                    await trio.sleep(0.01)

    async def ended(self, name: str) -> None:
        """Returns when it does not run any more."""
        with trio.fail_after(20):
            while await self.runtime.alive(name):  # noqa: ASYNC110 - it is the runtime that is being asked
                await trio.sleep(0.01)

    async def python(self, name: str, program: str) -> tuple[Exit, list[str]]:
        """Runs a Python program as a block; returns how it ended, and what it printed."""
        lines: list[LogLine] = []
        call = BlockCall(
            run=secrets.token_hex(4),
            execution_id="e1",
            block_id="b1",
            attempt=1,
            command=("python3", "-c", program),
            output_limit=10_000,
            terminate_grace=0.2,
        )
        exit_ = await self.runtime.agent(name).run(call, lines.append)
        return exit_, [line.text for line in lines]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def client(docker_url: str) -> Iterator[Any]:
    """docker-py as it comes, to look at what is there with other eyes."""
    client = docker.APIClient(base_url=docker_url, version="1.41")
    yield client
    client.close()


@pytest.fixture
async def bench(
    docker_url: str, python_image: str, no_container_left: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    monkeypatch.setenv("DOCKER_HOST", docker_url)
    session_id = secrets.token_hex(4)
    async with open_docker(session_id=session_id, owner=owner_label()) as runtime:
        yield Bench(runtime, session_id, python_image)


@pytest.fixture
async def distant_bench(detour: Detour, python_image: str, no_container_left: None) -> AsyncIterator[Bench]:
    """A bench that reaches the daemon by the detour."""
    session_id = secrets.token_hex(4)
    async with open_docker(session_id=session_id, owner=owner_label()) as runtime:
        yield Bench(runtime, session_id, python_image)


@define
class Detour:
    """A TCP port that leads to the daemon, and that can be cut."""

    port: int
    reachable: bool = True
    _scopes: set[trio.CancelScope] = field(factory=set[trio.CancelScope])
    _path: str = field(kw_only=True, alias="path")

    def cut(self) -> None:
        """All connections break, and new ones do not get through."""
        self.reachable = False
        for scope in self._scopes:
            scope.cancel()

    async def serve(self, near: trio.SocketStream) -> None:
        """One connection, both ways."""
        if not self.reachable:
            return
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            async with await trio.open_unix_socket(self._path) as far, trio.open_nursery() as nursery:
                nursery.start_soon(_pump, near, far, nursery.cancel_scope)
                nursery.start_soon(_pump, far, near, nursery.cancel_scope)
        self._scopes.remove(scope)


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
    try:
        async for piece in source:
            await sink.send_all(piece)
    except trio.BrokenResourceError:
        pass  # one end is gone, and so is the other
    finally:
        scope.cancel()


@pytest.fixture
async def detour(docker_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Detour]:
    """DOCKER_HOST is a TCP port with the daemon behind it."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        detour = Detour(listener.socket.getsockname()[1], path=docker_url.removeprefix("unix://"))
        nursery.start_soon(trio.serve_listeners, detour.serve, [listener])
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{detour.port}")
        yield detour
        nursery.cancel_scope.cancel()
