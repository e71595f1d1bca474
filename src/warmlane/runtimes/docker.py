"""Containers on a Docker daemon of this machine.

Keeps `protocol.Runtime`. What the words of the API mean is in `docker_spec.py`, how calls are cancelled in
`docker_calls.py`; here is in which order they are made, and what is done when the daemon says no. Its words are
seldom trusted for what they say about a state: after a refusal the state is looked at, for an unpause that was not
needed is a 500, as is one that came within milliseconds of the pause.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Literal

import trio
from attrs import evolve

from warmlane.agent.client import HttpAgent
from warmlane.agent.protocol import Agent
from warmlane.errors import (
    ContainerLostError,
    RuntimeRefusedError,
    RuntimeSilentError,
    RuntimeUnavailableError,
)
from warmlane.events import PullProgress
from warmlane.plan.model import Container
from warmlane.runtimes import rundir
from warmlane.runtimes.docker_address import DockerAddress, docker_address
from warmlane.runtimes.docker_calls import Calls, is_exhaustion
from warmlane.runtimes.docker_hello import hail
from warmlane.runtimes.docker_logs import read_tail
from warmlane.runtimes.docker_pull import Images
from warmlane.runtimes.docker_spec import (
    OWNER_LABEL,
    SESSION_LABEL,
    Invoker,
    agent_config,
    birth_error,
    container_config,
    why_not_running,
)
from warmlane.runtimes.docker_watch import sightings
from warmlane.runtimes.loopback import port_is_free
from warmlane.runtimes.owner import owner_is_dead
from warmlane.runtimes.process_box import read_card
from warmlane.runtimes.protocol import Birth, Found, Sighting
from warmlane.runtimes.rundir import SOCKET, RunDirs

_SETTLING = (0.01, 0.05, 0.2, 0.5, 1.0)  # seconds between tries while the daemon contradicts itself
_REMOVING = (0.02, 0.1, 0.5, 1.0, 2.0)  # the same for removals, where a mount or a process may take its time to go
_POLL = 0.02  # seconds between looks at a removal that somebody else has begun
_GHOST = 5.0  # seconds for which a creation that was never answered may still happen
_GLANCE = 5.0  # seconds for a look at what earlier sessions have left, before ours begins
_STOP_GRACE = 2  # seconds that an image's own server gets between SIGTERM and SIGKILL

_STATES: dict[str, Literal["created", "running", "paused", "dead"]] = {
    "created": "created",
    "running": "running",
    "restarting": "running",
    "paused": "paused",
}


class DockerRuntime:
    """One daemon, open for one session. Made by `open_docker`."""

    kind = "docker"

    def __init__(self, address: DockerAddress, version: str, calls: Calls, dirs: RunDirs, session_id: str) -> None:
        self._address = address
        self._version = version
        self._calls = calls
        self._dirs = dirs
        self._session_id = session_id
        self._images = Images(calls)
        self._invoker = Invoker(uid=os.getuid(), gid=os.getgid())
        self._births: dict[str, Birth] = {}
        self._alone = trio.Lock()

    def vet(self, container: Container) -> str | None:
        if container.image is None:
            return "it names no image; add container.image or use --runtime process"
        if container.port is not None and container.transport == "unix":
            return "an image with a server of its own (container.port) is reached by transport 'tcp', not 'unix'"
        return None

    def port_is_free(self, port: int) -> bool:
        return port_is_free(port)

    async def prepare(self, container: Container, progress: Callable[[PullProgress], None]) -> None:
        assert container.image is not None, "vet"
        await self._images.prepare(container.image, progress)

    async def create(self, birth: Birth) -> None:
        if birth.name in self._births:
            raise RuntimeRefusedError("create a container", f"the name '{birth.name}' is already in use", status=409)
        has_agent = birth.container.port is None
        try:
            run_dir = self._dirs.make(birth.name, agent_config(birth))  # without an agent, too: it stands on record
        except OSError as error:
            self._calls.trim()
            raise RuntimeRefusedError("make its run directory", str(error)) from error
        self._births[birth.name] = birth
        image = birth.container.image or ""
        config = container_config(birth, run_dir if has_agent else None, self._invoker, self._images.user_of(image))
        try:
            await self._calls.create(birth.name, config)
        except RuntimeRefusedError as refusal:
            if refusal.status == 404:
                self._images.forget(image)
            raise birth_error(refusal, birth) from refusal

    async def start(self, name: str) -> None:
        birth = self._birth(name)
        try:
            await self._calls.start(name)
        except RuntimeRefusedError as refusal:
            raise birth_error(refusal, birth) from refusal

    def agent(self, name: str) -> Agent:
        birth = self._birth(name)
        if birth.port is None:
            return HttpAgent(f"unix://{self._dirs.path / name / SOCKET}", birth.token, name=name)
        return HttpAgent(f"tcp://127.0.0.1:{birth.port}", birth.token, name=name)

    async def pause(self, name: str) -> None:
        await self._change(name, self._calls.pause, paused=True)

    async def unpause(self, name: str) -> None:
        await self._change(name, self._calls.unpause, paused=False)

    async def remove(self, name: str) -> None:
        try:
            await self._end(name)
        except RuntimeSilentError as error:
            if not is_exhaustion(error):
                raise
            async with self._alone:  # with few descriptors, one after the other succeeds where all at once do not
                self._calls.trim()
                await self._end(name)

    async def alive(self, name: str) -> bool:
        about = await self._look(name)
        return about is not None and bool(about["State"]["Running"])

    async def diagnose(self, name: str) -> str:
        about = await self._look(name)
        if about is None:
            return "it does not exist any more"
        birth = self._births.get(name)
        return why_not_running(about, has_agent=birth is None or birth.container.port is None)

    async def log_tail(self, name: str) -> str:
        return await read_tail(self._address, self._version, name)

    async def owned(self) -> list[Found]:
        listed = await self._calls.containers(SESSION_LABEL)
        try:
            abandoned = rundir.left_behind()
        except (OSError, RuntimeUnavailableError):
            abandoned = set[tuple[str, str]]()  # not known for sure
        return [evolve(one, abandoned=(one.owner, one.name) in abandoned) for one in map(_found, listed)]

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Sighting]]:
        return sightings(self._address, self._version, f"{SESSION_LABEL}={self._session_id}")

    def _birth(self, name: str) -> Birth:
        if (birth := self._births.get(name)) is None:
            raise ContainerLostError(name, f"there is no container '{name}'")
        return birth

    async def _look(self, name: str) -> dict[str, Any] | None:
        try:
            return await self._calls.inspect(name)
        except RuntimeRefusedError as refusal:
            if refusal.status == 404:
                return None
            raise

    async def _change(self, name: str, call: Callable[[str], Awaitable[None]], *, paused: bool) -> None:
        """Pauses or unpauses; success is what the state says."""
        patience = iter(_SETTLING)
        while True:
            try:
                return await call(name)
            except RuntimeRefusedError as refusal:
                about = await self._look(name)  # noqa: ASYNC120 - the state counts, not the refusal
                if about is None or not about["State"]["Running"]:
                    why = await self.diagnose(name)  # noqa: ASYNC120
                    raise ContainerLostError(name, why) from refusal
                if about["State"]["Paused"] == paused:
                    return None
                if (pause := next(patience, None)) is None:
                    raise
            await trio.sleep(pause)

    async def _end(self, name: str) -> None:
        birth = self._births.get(name)
        if birth is not None and birth.container.port is not None:
            await self._stop(name)
        await self._remove(name)
        if (given_up := self._calls.unanswered.get(name)) is not None:
            await trio.sleep(max(0.0, given_up + _GHOST - time.monotonic()))
            await self._remove(name)
            del self._calls.unanswered[name]
        self._births.pop(name, None)
        try:
            try:
                self._dirs.drop(name)
            except OSError:
                self._calls.trim()
                self._dirs.drop(name)
        except OSError as error:
            raise RuntimeSilentError("remove its run directory", str(error)) from error

    async def _stop(self, name: str) -> None:
        with suppress(RuntimeRefusedError):  # it is gone, or the removal that follows says what is wrong
            await self._calls.stop(name, _STOP_GRACE)

    async def _remove(self, name: str) -> None:
        patience = iter(_REMOVING)
        while True:
            refused: RuntimeRefusedError | None = None
            try:
                await self._calls.remove(name)
            except RuntimeRefusedError as refusal:
                refused = refusal
            if not await self._calls.exists(name):
                return
            if refused is None or refused.status in (404, 409):  # 409: its removal is in progress
                await trio.sleep(_POLL)
            elif (pause := next(patience, None)) is not None:
                await trio.sleep(pause)
            else:
                raise refused


@asynccontextmanager
async def open_docker(*, session_id: str, owner: str) -> AsyncGenerator[DockerRuntime]:
    """The daemon that DOCKER_HOST names. Raises RuntimeUnavailableError if it does not answer within five seconds.

    Leaving it closes its connections; containers are for the pool to remove before.
    """
    address = docker_address()
    version = await hail(address)
    dirs = RunDirs(session_id, owner)
    try:
        calls = Calls(address, version)
        try:
            await _sweep_run_dirs(calls)
            yield DockerRuntime(address, version, calls, dirs, session_id)
        finally:
            calls.close()
    finally:
        dirs.close()


async def _sweep_run_dirs(calls: Calls) -> None:
    """Removes those of dead sessions whose containers others have removed; the rest go with their containers."""
    # If that cannot be, the next session does it.
    with trio.move_on_after(_GLANCE), suppress(RuntimeRefusedError, RuntimeSilentError, OSError):
        if any(owner_is_dead(session.owner) for session in rundir.sessions()):
            there = {_found(about).name for about in await calls.containers(SESSION_LABEL)}
            rundir.sweep(owner_is_dead, lambda path: path.name not in there and read_card(path) is None)


def _found(about: dict[str, Any]) -> Found:
    labels = about["Labels"]
    return Found(
        name=about["Names"][0].removeprefix("/"),
        session_id=labels[SESSION_LABEL],
        owner=labels.get(OWNER_LABEL, ""),
        state=_STATES.get(about["State"], "dead"),
    )
