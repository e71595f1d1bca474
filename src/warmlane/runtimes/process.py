"""Containers that are local processes: no image, no isolation, quick. The embedded default.

Keeps `protocol.Runtime`. A container is a run directory and a process group with the agent at its head
(`process_box.py`); frozen means stopped by SIGSTOP. Gone means that no process carries its mark any more, nor has an
ancestor who does. Linux only, with one thread. A read-only workspace is not enforced.

When the engine dies, however it does, each agent's lifeline ends and takes everything along, frozen or not.
"""

from __future__ import annotations

import errno
import math
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal

import trio

from warmlane.agent.client import HttpAgent
from warmlane.agent.protocol import Agent
from warmlane.errors import ContainerLostError, RuntimeRefusedError, RuntimeSilentError, RuntimeUnavailableError
from warmlane.events import PullProgress
from warmlane.nursery import open_service_nursery
from warmlane.plan.model import Container
from warmlane.runtimes.loopback import port_is_free
from warmlane.runtimes.owner import owner_is_dead
from warmlane.runtimes.process_box import (
    Box,
    Card,
    address_of,
    agent_config,
    never_began,
    our_names,
    read_card,
    require_workspace,
    wait_for_the_left,
)
from warmlane.runtimes.process_tree import Identity, is_stopping, marked, signal_each
from warmlane.runtimes.protocol import Birth, Found, Sighting
from warmlane.runtimes.rundir import RunDirs, sessions, sweep

_STOP_GRACE = 1.0  # seconds that an agent gets to end what is below it; it kills, so it needs milliseconds
_STOPPING = 0.0005  # seconds between looks at whether a process has stopped
_LOOK = 0.02  # seconds between looks at whether something is left


class ProcessRuntime:
    """This machine's processes, for one session. Made by `open_process`."""

    kind = "process"

    def __init__(self, dirs: RunDirs, nursery: trio.Nursery) -> None:
        self._dirs = dirs
        self._nursery = nursery
        self._boxes: dict[str, Box] = {}
        self._watchers: set[trio.MemorySendChannel[Sighting]] = set()

    def vet(self, container: Container) -> str | None:
        if container.port is not None:
            return "an image with a server of its own (container.port) needs Docker; use --runtime docker"
        if container.user is not None and container.user not in our_names():
            return f"a local process cannot run as user '{container.user}'; remove container.user or use Docker"
        return None

    def port_is_free(self, port: int) -> bool:
        return port_is_free(port)

    async def prepare(self, container: Container, progress: Callable[[PullProgress], None]) -> None:
        await trio.lowlevel.checkpoint()

    async def create(self, birth: Birth) -> None:
        await trio.lowlevel.checkpoint()
        with _readable("create a container"):
            if self._dirs.find(birth.name) is not None:
                raise RuntimeRefusedError("create a container", f"the name '{birth.name}' is already in use")
        require_workspace(birth)
        path = self._dirs.path / birth.name
        try:
            box = Box(birth, self._dirs.make(birth.name, agent_config(birth, path)))
            box.write_card()
        except OSError as error:
            raise RuntimeRefusedError("make its run directory", str(error)) from error
        self._boxes[birth.name] = box

    async def start(self, name: str) -> None:
        await trio.lowlevel.checkpoint()
        box = self._box(name)
        with _readable("start a local process"):
            box.start()
        self._nursery.start_soon(self._attend, box, name=f"process {name}")

    def agent(self, name: str) -> Agent:
        box = self._box(name)
        return HttpAgent(address_of(box.birth, box.path), box.birth.token, name=name)

    async def pause(self, name: str) -> None:
        await trio.lowlevel.checkpoint()
        box = self._running(name)
        is_news = box.frozen is None
        with _readable("freeze a local process"):
            for pid in box.freeze():
                # A signal takes its moment, and frozen means that nothing moves any more
                while box.frozen is not None and is_stopping(pid):  # noqa: ASYNC110 - nobody tells
                    await trio.sleep(_STOPPING)
        if is_news:
            self._publish("paused", name)

    async def unpause(self, name: str) -> None:
        await trio.lowlevel.checkpoint()
        box = self._running(name)
        if box.frozen is not None:
            box.thaw()
            self._publish("unpaused", name)

    async def remove(self, name: str) -> None:
        await trio.lowlevel.checkpoint()
        with _readable("remove a local process"):
            path = self._dirs.find(name)
            if path is None:
                return
            card = read_card(path)
            if card is None:
                if never_began(path):
                    self._dirs.drop(name)
                return
            await _end(card)
            wait_for_the_left()
            box = self._boxes.get(name)
            if box is not None and box.process is not None:
                await box.ended.wait()
            if self._dirs.find(name) == path:
                self._dirs.drop(name)
        if self._boxes.get(name) is box and box is not None:
            del self._boxes[name]
            box.close()
            self._publish("removed", name)

    async def alive(self, name: str) -> bool:
        await trio.lowlevel.checkpoint()
        return name in self._boxes and self._boxes[name].running

    async def diagnose(self, name: str) -> str:
        await trio.lowlevel.checkpoint()
        box = self._boxes.get(name)
        if box is None:
            return "it does not exist any more"
        if box.process is None:
            return "it was never started"
        match box.process.poll():
            case None:
                return "it runs"
            case code if code < 0:
                return f"its agent was killed by {signal.Signals(-code).name}"
            case code:
                return f"its agent exited with code {code}"

    async def log_tail(self, name: str) -> str:
        await trio.lowlevel.checkpoint()
        with _readable("read a log"):
            return self._box(name).log_tail()

    async def owned(self) -> list[Found]:
        await trio.lowlevel.checkpoint()
        with _readable("list the local processes"):
            return [
                Found(
                    name=path.name,
                    session_id=session.session_id,
                    owner=card.owner,
                    state=self._state(path.name, card),
                    abandoned=session.ended,
                )
                for session in sessions()
                for path in session.containers
                if (card := read_card(path)) is not None
            ]

    @asynccontextmanager
    async def watch(self) -> AsyncGenerator[AsyncIterator[Sighting]]:
        send, receive = trio.open_memory_channel[Sighting](math.inf)
        self._watchers.add(send)
        try:
            with send, receive:
                yield receive
        finally:
            self._watchers.discard(send)

    def _box(self, name: str) -> Box:
        if (box := self._boxes.get(name)) is None:
            raise ContainerLostError(name, f"there is no container '{name}'")
        return box

    def _running(self, name: str) -> Box:
        box = self._box(name)
        if not box.running:
            raise ContainerLostError(name, "its agent does not run")
        return box

    def _state(self, name: str, card: Card) -> Literal["created", "running", "paused", "dead"]:
        """As we have made it, if it is ours: a signal takes a moment to be seen in /proc."""
        box = self._boxes.get(name)
        if box is None or not box.running:
            return card.state
        return "running" if box.frozen is None else "paused"

    def _publish(self, kind: Literal["died", "removed", "paused", "unpaused"], name: str) -> None:
        for watcher in self._watchers:
            watcher.send_nowait(Sighting(kind=kind, name=name))

    async def _attend(self, box: Box) -> None:
        """Waits for the end of an agent, so that it is no zombie, and says so."""
        try:
            await trio.lowlevel.wait_readable(box.handle)
        except trio.Cancelled:
            box.leave()
            raise
        box.wait()
        self._publish("died", box.birth.name)


@asynccontextmanager
async def open_process(*, session_id: str, owner: str) -> AsyncGenerator[ProcessRuntime]:
    """Local processes. Raises RuntimeUnavailableError where there is no Linux, or no safe place for run directories.

    Leaving it lets go of all lifelines; containers are for the pool to remove before.
    """
    _require_linux()
    wait_for_the_left()
    try:
        sweep(owner_is_dead, _is_gone)
    except OSError as error:
        raise RuntimeUnavailableError("process", f"its run directories cannot be read ({error})") from error
    dirs = RunDirs(session_id, owner)
    try:
        async with open_service_nursery() as nursery:
            runtime = ProcessRuntime(dirs, nursery)
            yield runtime
    finally:
        dirs.close()


async def _end(card: Card) -> None:
    """Ends all processes of a container; returns when there are none."""
    agent = card.agent
    if agent is not None and agent.state() is not None:
        signal_each(marked(card.mark), signal.SIGCONT)
        signal_each([agent.pid], signal.SIGTERM)
        with trio.move_on_after(_STOP_GRACE):
            await _ended(agent)
        if agent.state() is not None:
            signal_each([agent.pid], signal.SIGKILL)
            await _ended(agent)
    patience = trio.current_time() + _STOP_GRACE  # supervisors without an agent end their blocks, and know them best
    while left := marked(card.mark):
        signal_each(left, signal.SIGCONT if trio.current_time() < patience else signal.SIGKILL)
        await trio.sleep(_LOOK)


async def _ended(agent: Identity) -> None:
    """Returns when a process, a child of ours or not, has ended."""
    try:
        handle = os.pidfd_open(agent.pid)
    except ProcessLookupError:
        return
    try:
        if agent.state() is not None:  # the handle is of this process, and of no later one with its pid
            await trio.lowlevel.wait_readable(handle)
    finally:
        os.close(handle)


@contextmanager
def _readable(action: str) -> Generator[None]:
    """What this machine refuses (no file descriptor, no space) is a host that does not answer: it may do so later."""
    try:
        yield
    except OSError as error:
        raise RuntimeSilentError(action, str(error)) from error


def _is_gone(path: Path) -> bool:
    card = read_card(path)
    if card is None:
        return never_began(path)
    return card.state in ("created", "dead") and not marked(card.mark)


def _require_linux() -> None:
    try:
        os.close(os.pidfd_open(os.getpid()))
        Path("/proc/self/task", str(os.getpid()), "children").read_bytes()
    except (AttributeError, OSError) as error:
        said = "local processes need Linux 5.3 or newer with /proc"
        code = getattr(error, "errno", errno.ENOSYS)
        raise RuntimeUnavailableError("process", f"{said} ({os.strerror(code)})") from error
