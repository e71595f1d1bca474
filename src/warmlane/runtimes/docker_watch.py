"""What the daemon says has happened to the containers of a session, as it comes. No thread.

Begins with the call of `sightings`, whatever the daemon takes to answer: it is asked for what happened since. After
an interruption it is asked again, and a `resync` says that something may have been missed.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal
from urllib.parse import quote

import trio

from warmlane.errors import RuntimeSilentError
from warmlane.runtimes.docker_address import DockerAddress
from warmlane.runtimes.docker_http import ask
from warmlane.runtimes.protocol import Sighting

_KINDS: dict[str, Literal["died", "removed", "paused", "unpaused", "oom"]] = {
    "die": "died",
    "destroy": "removed",
    "pause": "paused",
    "unpause": "unpaused",
    "oom": "oom",
}
_BACKOFF = (0.05, 0.2, 1.0, 5.0)  # seconds between tries to reach the daemon again; the last one for ever


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
            async with ask(address, "watch the containers", _target(version, label, since)) as answer:
                if answer.status != 200:
                    raise RuntimeSilentError("watch the containers", f"the daemon answered {answer.status}")
                failures = 0
                if interrupted:
                    yield Sighting(kind="resync")  # noqa: ASYNC119 - as_safe_channel closes it
                while line := await answer.line():
                    event: dict[str, Any] = json.loads(line)
                    since = max(since, event.get("timeNano", 0) / 1e9)
                    if (kind := _KINDS.get(event.get("Action", ""))) is not None:
                        name = event["Actor"]["Attributes"].get("name", "")
                        yield Sighting(kind=kind, name=name)  # noqa: ASYNC119
        except RuntimeSilentError:
            pass  # tried again below
        interrupted = True
        await trio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
        failures += 1


def _target(version: str, label: str, since: float) -> str:
    filters = {"type": ["container"], "label": [label], "event": list(_KINDS)}
    return f"/v{version}/events?since={since:.9f}&filters={quote(json.dumps(filters))}"
