"""What the daemon says has happened to the containers of a session, as it comes. No thread.

Begins with the call of `sightings`, whatever the daemon takes to answer: it is asked for what happened since. After
an interruption it is asked again, and a `resync` says that something may have been missed. An answer that does not
begin, and one that has said nothing for long, for its connection may be dead, count as interrupted.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Literal
from urllib.parse import quote

import trio

from warmlane.errors import RuntimeSilentError
from warmlane.runtimes.docker_address import DockerAddress
from warmlane.runtimes.docker_http import Answer, ask
from warmlane.runtimes.protocol import Sighting

_KINDS: dict[str, Literal["died", "removed", "paused", "unpaused", "oom"]] = {
    "die": "died",
    "destroy": "removed",
    "pause": "paused",
    "unpause": "unpaused",
    "oom": "oom",
}
_BACKOFF = (0.05, 0.2, 1.0, 5.0)  # seconds between tries to reach the daemon again; the last one for ever
HEAD = 10.0
"""Seconds for the head of the answer. The daemon sends it at once, whether anything has happened or not."""
SILENCE = 60.0
"""Seconds without an event after which it is asked anew: the usual case while containers sleep, and cheap."""
_ACTION = "watch the containers"


def sightings(
    address: DockerAddress, version: str, label: str
) -> AbstractAsyncContextManager[trio.abc.ReceiveChannel[Sighting]]:
    """What happens from now on to the containers that carry `label` (`key=value`), without an end."""
    return _follow(address, version, label, time.time())


@trio.as_safe_channel
async def _follow(address: DockerAddress, version: str, label: str, since: float) -> AsyncGenerator[Sighting]:
    failures, interrupted = 0, False
    while True:
        try:
            async with AsyncExitStack() as stack:
                answer = await _begin(stack, address, _target(version, label, since))
                if interrupted:
                    yield Sighting(kind="resync")  # noqa: ASYNC119 - as_safe_channel closes it
                while line := await _line(answer):
                    failures = 0
                    event: dict[str, Any] = json.loads(line)
                    since = max(since, event.get("timeNano", 0) / 1e9)
                    if (kind := _KINDS.get(event.get("Action", ""))) is not None:
                        name = event["Actor"]["Attributes"].get("name", "")
                        yield Sighting(kind=kind, name=name)  # noqa: ASYNC119
                if line is None:
                    failures = 0
        except RuntimeSilentError:
            pass  # tried again below
        interrupted = True
        await trio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
        failures += 1


async def _begin(stack: AsyncExitStack, address: DockerAddress, target: str) -> Answer:
    with trio.move_on_after(HEAD):
        answer = await stack.enter_async_context(ask(address, _ACTION, target))
        if answer.status != 200:
            raise RuntimeSilentError(_ACTION, f"the daemon answered {answer.status}")
        return answer
    raise RuntimeSilentError(_ACTION, f"no answer began within {HEAD:g} seconds")


async def _line(answer: Answer) -> bytes | None:
    """None if there is none within SILENCE."""
    with trio.move_on_after(SILENCE):
        return await answer.line()
    return None


def _target(version: str, label: str, since: float) -> str:
    filters = {"type": ["container"], "label": [label], "event": list(_KINDS)}
    return f"/v{version}/events?since={since:.9f}&filters={quote(json.dumps(filters))}"
