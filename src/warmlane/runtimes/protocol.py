"""What the pool needs of a place where containers live. `docker`, `process` and the fake keep it; one contract suite
(tests/contract) holds all of them to it.

Cancellation: after Cancelled, `create` and `start` have either happened or not begun (a caller removes by name
either way); every other call either happened or can be repeated. No call leaves a thread, task or socket behind.

Errors: RuntimeRefusedError (the host said no), RuntimeSilentError (effect unknown), ContainerFaultError (the
container's own failure), PortTakenError (from `create` or `start`: the container is to be removed before it is made
again on another port). A call for a name that does not exist raises ContainerLostError, but for `remove`, where being
gone is success, and for the questions `alive` and `diagnose`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from attrs import field, frozen

from warmlane.agent.protocol import Agent
from warmlane.events import PullProgress
from warmlane.plan.model import Container


@frozen(kw_only=True)
class Birth:
    """Everything about a container that is decided before the host hears of it."""

    name: str
    """Unique on the host, so that cleaning up needs no answer."""
    container: Container
    session_id: str
    owner: str
    """Who may remove it: `owner.py` writes and reads this."""
    port: int | None = None
    """The host port, on 127.0.0.1, if its transport is `tcp`."""
    token: str = field(repr=False)
    """What every request to its agent must carry. Never an argument, never in the environment of the container."""


@frozen(kw_only=True)
class Found:
    """A container of ours that the host knows, whoever owns it."""

    name: str
    session_id: str
    owner: str
    state: Literal["created", "running", "paused", "dead"]
    abandoned: bool = False
    """Whether its session is known to have ended without it, although its owner may live."""


@frozen(kw_only=True)
class Sighting:
    """Something the host says has happened to a container. A hint: look at the state before acting on it.

    `resync` means that sightings may have been missed (the watch was interrupted); compare with `owned`.
    """

    kind: Literal["died", "removed", "paused", "unpaused", "oom", "resync"]
    name: str = ""


class Runtime(Protocol):
    """One container host, open for one session."""

    @property
    def kind(self) -> str:
        """`docker`, `process`, `fake`."""
        ...

    def vet(self, container: Container) -> str | None:
        """None if this host can run such a container at all; else a sentence that says what to change."""
        ...

    def port_is_free(self, port: int) -> bool:
        """Whether a container could listen on this port of the host now. A hint: `create` and `start` know better."""
        ...

    async def prepare(self, container: Container, progress: Callable[[PullProgress], None]) -> None:
        """Makes sure that the image is there, pulling it once however many ask. Raises ContainerFaultError with the
        host's own words if it cannot be had. Cancelling ends the pull for this caller."""
        ...

    async def create(self, birth: Birth) -> None:
        """Makes the container; it does not run yet. Never cancelled half way."""
        ...

    async def start(self, name: str) -> None:
        """Starts it; its agent may not answer yet. Never cancelled half way."""
        ...

    def agent(self, name: str) -> Agent:
        """The way to its agent; known from `create` on. Synchronous, opens nothing."""
        ...

    async def pause(self, name: str) -> None:
        """Freezes it; being frozen already is success."""
        ...

    async def unpause(self, name: str) -> None:
        """Thaws it; not being frozen is success."""
        ...

    async def remove(self, name: str) -> None:
        """Stops and removes it from any state, frozen too; being gone, or going, is success. Returns when the host
        confirms that it is gone, with all its processes; waits as long as the caller's scope lets it."""
        ...

    async def alive(self, name: str) -> bool:
        """Whether it runs (frozen counts as running). A container that does not exist is not alive."""
        ...

    async def diagnose(self, name: str) -> str:
        """Why it does not run, as a clause for the `said` of an error: "its image has no python3, which the agent
        needs", "it was killed for exceeding its memory limit of 512 MiB", "it exited with code 3". "it runs" if it
        does, "it does not exist any more" if it is gone: asking is never an error, unless the host does not answer."""
        ...

    async def log_tail(self, name: str) -> str:
        """The end (some 4 KiB) of what its first process printed; empty if there is none to be had."""
        ...

    async def owned(self) -> list[Found]:
        """All containers on this host that carry our labels, of any session, in any state."""
        ...

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Sighting]]:
        """What happens to this session's containers, from now on. Reconnects by itself, and then says `resync`.

        A host may lose some without a word: who has to know compares with `owned` from time to time, too.
        """
        ...
