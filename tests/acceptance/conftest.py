"""Whole sessions on real runtimes: Docker over both transports, and local processes."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
import trio
from attrs import define, field

import warmlane
from warmlane import Session, Settings
from warmlane.bus import Feed
from warmlane.events import Envelope
from warmlane.runtimes.process_tree import marked, signal_each

PLACES = (
    "process",
    pytest.param("docker-tcp", marks=pytest.mark.docker),
    pytest.param("docker-unix", marks=pytest.mark.docker),
)


@define
class Stage:
    """A session on one runtime, and everything that it has announced so far."""

    session: Session
    feed: Feed
    container: dict[str, Any]
    daemon: Any
    heard: list[Envelope] = field(factory=list)

    def plan(self, blocks: dict[str, Any], lanes: list[Any], **said: Any) -> dict[str, Any]:
        """A plan in this place; a block given as a text is a shell command."""
        made = {name: {"command": ["sh", "-c", do]} if isinstance(do, str) else do for name, do in blocks.items()}
        return {"name": "acceptance", "container": self.container, "blocks": made, "lanes": lanes, **said}

    def messages(self, *channels: str) -> list[dict[str, Any]]:
        """All messages so far, in order; of these channels if any are named."""
        while (envelope := self.feed.receive_nowait()) is not None:
            self.heard.append(envelope)
        return [heard.message for heard in self.heard if not channels or heard.event.channel in channels]

    async def until(self, channel: str, **payload: Any) -> dict[str, Any]:
        """The first message, heard already or to come, whose payload holds all of this."""

        def fits(message: dict[str, Any]) -> bool:
            said = message["payload"]
            return message["channel"] == channel and all(said.get(key) == value for key, value in payload.items())

        for message in self.messages():
            if fits(message):
                return message
        while True:
            self.heard.append(await self.feed.receive())
            if fits(self.heard[-1].message):
                return self.heard[-1].message

    async def birth(self, number: int) -> dict[str, Any]:
        """The message that says that the container of this number, from 0, has begun to live."""
        while (
            len(births := [each for each in self.messages() if each["payload"].get("fromState", "") is None]) <= number
        ):
            self.heard.append(await self.feed.receive())
        return births[number]

    def _processes(self, name: str) -> list[int]:
        return marked(f"{self.session.id}/{name}")

    def paused(self, name: str) -> bool:
        """Whether the host itself says that the container is frozen."""
        if self.daemon is not None:
            return bool(self.daemon.inspect_container(name)["State"]["Paused"])
        states = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] for pid in self._processes(name)]
        return bool(states) and set(states) == {"T"}

    def exists(self, name: str) -> bool:
        """Whether the host still knows the container."""
        if self.daemon is not None:
            return bool(self.daemon.containers(all=True, filters={"name": f"^/{name}$"}))
        return bool(self._processes(name))

    def kill(self, name: str) -> None:
        """Kills the container behind the pool's back."""
        if self.daemon is not None:
            self.daemon.kill(name)
        else:
            signal_each(self._processes(name), signal.SIGKILL)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """(runtime kind, what a container is made from, the daemon's own API or None)."""
    kind, _, transport = request.param.partition("-")
    if kind == "process":
        yield kind, {}, None
        return
    url = request.getfixturevalue("docker_url")
    request.getfixturevalue("no_container_left")
    image = request.getfixturevalue("python_image")
    daemon = docker.APIClient(base_url=url, version="1.41")
    before, os.environ["DOCKER_HOST"] = os.environ.get("DOCKER_HOST"), url
    yield kind, {"image": image, "transport": transport}, daemon
    daemon.close()
    del os.environ["DOCKER_HOST"]
    if before is not None:
        os.environ["DOCKER_HOST"] = before


@pytest.fixture
async def bounded() -> AsyncGenerator[None]:
    """A test that hangs fails."""
    with trio.fail_after(60):
        yield


@asynccontextmanager
async def open_stage(place: tuple[str, dict[str, Any], Any], **settings: Any) -> AsyncGenerator[Stage]:
    """A session in this place; the stage is set before anything is announced."""
    kind, container, daemon = place
    async with warmlane.open_session(kind, settings=Settings(**settings)) as session:
        with session.events(whole=True) as feed:
            yield Stage(session, feed, container, daemon)


@pytest.fixture
def stage() -> Any:
    """`open_stage`, since test folders are no packages."""
    return open_stage
