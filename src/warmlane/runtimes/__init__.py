"""Where containers live: `open_runtime` is the door, `protocol.Runtime` what is behind it.

The runtimes are imported when one is opened, so that a run on local processes never loads docker-py.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from attrs import frozen

from warmlane.errors import RuntimeUnavailableError
from warmlane.runtimes.protocol import Runtime

KINDS = ("auto", "docker", "process")

_PING = 1.0  # seconds that `auto` waits for a daemon


@frozen
class Choice:
    """The runtime that will be used; `notice` is a sentence for the user if it is not the one with containers."""

    kind: str
    notice: str | None = None


async def choose_runtime(kind: str) -> Choice:
    """What `kind` (`docker`, `process` or `auto`) means here and now: `auto` is docker if a daemon answers within a
    second, else process. Raises RuntimeUnavailableError for a kind that does not exist."""
    if kind not in KINDS:
        raise RuntimeUnavailableError(kind, f"there is no such runtime; choose one of {', '.join(KINDS)}")
    if kind != "auto":
        return Choice(kind)
    why = await _why_not_docker()
    if why is None:
        return Choice("docker")
    return Choice("process", f"blocks run as local processes, without containers: {why}")


@asynccontextmanager
async def open_runtime(kind: str, *, session_id: str, owner: str) -> AsyncGenerator[Runtime]:
    """A runtime for one session; `kind` is what `choose_runtime` has chosen, `owner` from `owner.owner_label`.

    Raises RuntimeUnavailableError. When it is left, its connections and files are closed and gone; containers are
    for its user to remove before.
    """
    match kind:
        case "docker":
            from warmlane.runtimes.docker import open_docker

            async with open_docker(session_id=session_id, owner=owner) as runtime:
                yield runtime
        case "process":
            from warmlane.runtimes.process import open_process

            async with open_process(session_id=session_id, owner=owner) as runtime:
                yield runtime
        case _:
            raise ValueError(f"'{kind}' is no runtime; ask choose_runtime what it means here, and tell its notice")


async def _why_not_docker() -> str | None:
    from warmlane.runtimes.docker_hello import why_not_docker

    with trio.move_on_after(_PING):
        return await why_not_docker()
    return f"Docker did not answer within {_PING:g} second"
