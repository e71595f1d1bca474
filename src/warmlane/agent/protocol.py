"""What the engine asks of the server inside a container, and what it promises.

`client.HttpAgent` speaks it over HTTP to the real one (`warmlane_agent`), `runtimes/fake` plays it in memory.

The promise that everything else stands on: when `run` has returned or raised anything but `Cancelled`, or `end` has
returned, no process of that block is left. Cancelling `run` hangs up, and the agent ends the block when it is hung
up on; the canceller still calls `end` to know that it is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from attrs import frozen


@frozen(kw_only=True)
class BlockCall:
    """One block to be run. `run` names this very run, and is never used twice."""

    run: str
    execution_id: str
    block_id: str
    attempt: int
    command: tuple[str, ...] | None = None
    """argv; or else ..."""
    python: str | None = None
    """... `module:function`."""
    input: Any = None
    output_limit: int
    """The largest output, in bytes of JSON."""
    terminate_grace: float
    """Seconds between SIGTERM and SIGKILL when the block is ended."""


@frozen(kw_only=True)
class LogLine:
    """One printed line without its newline; a piece of one, if `partial`. Invalid UTF-8 shows as `\\xNN`."""

    stream: Literal["stdout", "stderr"]
    text: str
    partial: bool = False


@frozen(kw_only=True)
class Exit:
    """How a block ended. `error` is a sentence if it did not end well, and `fault` says of which kind it was.

    code: exit code, None if killed by `signal`. fault: `error` (exit code, exception), `signal`, `bad-output` (not
    JSON, or over the limit), `oom` (the kernel killed it for memory), None if all is well.
    """

    code: int | None = None
    signal: int | None = None
    output: Any = None
    error: str | None = None
    fault: Literal["error", "signal", "bad-output", "oom"] | None = None


@frozen(kw_only=True)
class Response:
    """What the image's own service answered. `body` is parsed if it is JSON, else text."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Agent(Protocol):
    """The server in one container. Every call uses a connection of its own: a frozen container holds none."""

    async def health(self) -> None:
        """Returns when `GET /health` answers 200; raises ContainerLostError if it answers otherwise or cannot be
        reached. Waits as long as the caller's scope lets it: a frozen container accepts and says nothing."""
        ...

    async def run(self, call: BlockCall, on_log: Callable[[LogLine], None]) -> Exit:
        """Runs a block to its end. Raises ContainerLostError if the connection breaks before the exit came."""
        ...

    async def end(self, run: str) -> None:
        """Ends a run (SIGTERM, grace, SIGKILL to every descendant); returns when all are gone, at once if the run is
        unknown. Raises ContainerLostError if the agent cannot be reached."""
        ...

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> Response:
        """One request to the image's own service; raises ContainerLostError if it cannot be reached."""
        ...
