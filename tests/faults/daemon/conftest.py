"""Sessions on a real daemon, seen and spoilt from outside: through a proxy, and by others' hands."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import docker
import pytest
import trio
from attrs import define, evolve, field

import warmlane
from dockerd.api import Daemon
from dockerd.proxy import Proxy, open_proxy
from warmlane.plan.model import WorkflowPlan
from warmlane.records import ContainerRecord
from warmlane.session import Session
from warmlane.settings import Graces, Settings

SHORT = Graces(terminate=0.2, settle=2.0, remove=12.0, pull=3.0, birth=3.0, health=5.0)
"""Long enough for a busy machine that is well."""


@define
class Yard:
    """Sessions on one daemon, and the daemon as others see it."""

    daemon: Daemon
    client: Any
    image: str
    graces: Graces = SHORT
    opening: trio.Lock = field(factory=trio.Lock)

    @asynccontextmanager
    async def session(
        self, url: str | None = None, *, settings: Settings | None = None, graces: Graces = SHORT
    ) -> AsyncGenerator[Session]:
        """A session on the daemon, or on what stands before it at `url`; of its containers none is there afterwards."""
        settings = evolve(settings or Settings(max_containers=3, pause_grace=0.02), graces=graces)
        async with AsyncExitStack() as stack:
            async with self.opening:  # the environment is one for all
                before, os.environ["DOCKER_HOST"] = os.environ.get("DOCKER_HOST"), url or self.daemon.url
                try:
                    session = await stack.enter_async_context(warmlane.open_session("docker", settings=settings))
                finally:
                    if before is None:
                        del os.environ["DOCKER_HOST"]
                    else:
                        os.environ["DOCKER_HOST"] = before
            yield session
        assert self.containers(session.id) == []

    def containers(self, session_id: str) -> list[str]:
        """What the daemon itself says of this session's containers."""
        return [str(container["Names"]) for container in self.daemon.containers(f"warmlane.session={session_id}")]

    def plan(self, *lanes: Mapping[str, list[str]], **more: Any) -> WorkflowPlan:
        """Lanes of blocks, each with its command; containers without network."""
        document = {
            "name": "plan",
            "container": {"image": self.image, "transport": "unix"},
            "blocks": {name: {"command": command} for lane in lanes for name, command in lane.items()},
            "lanes": [{"blocks": list(lane)} for lane in lanes],
            "failureMode": "lenient",
        }
        return warmlane.read_plan(document | more)

    async def until(self, session: Session, wanted: Callable[[tuple[ContainerRecord, ...]], bool]) -> None:
        """Waits until the pool is as wanted."""
        with trio.fail_after(20), session.events() as feed:
            while not wanted(session.pool_status().containers):
                await feed.receive()

    @property
    def small(self) -> WorkflowPlan:
        """A lane of two blocks, and one of one."""
        return self.plan({"a": ["true"], "b": ["true"]}, {"c": ["true"]})


@pytest.fixture
def yard(docker_url: str, python_image: str, no_container_left: None) -> Any:
    client = docker.APIClient(base_url=docker_url, version="1.41")
    yield Yard(Daemon(docker_url), client, python_image)
    client.close()


@pytest.fixture
async def proxy(docker_url: str) -> AsyncIterator[Proxy]:
    async with open_proxy(docker_url) as proxy:
        yield proxy


@pytest.fixture
def proxies(docker_url: str) -> Callable[[], AbstractAsyncContextManager[Proxy]]:
    """As many as are wanted."""
    return lambda: open_proxy(docker_url)
