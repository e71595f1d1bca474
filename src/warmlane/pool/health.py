"""Waiting for a container's first healthy answer after a start or a wake.

Cancellation: nothing to undo; each probe is one request of its own, with its own bound, because a container that is
not quite there accepts a connection and says nothing.
"""

from __future__ import annotations

import trio

from warmlane.agent.protocol import Agent
from warmlane.errors import ContainerFaultError, ContainerLostError
from warmlane.runtimes.protocol import Birth, Runtime

FIRST_PAUSE = 0.004
LONGEST_PAUSE = 0.5
PROBE_AT_LEAST = 0.25
"""Seconds a probe may take; it grows with the pause between probes."""
LOOK_AFTER = 0.1
"""From this age on, each failed probe also asks the host whether the container still runs at all."""


async def wait_healthy(runtime: Runtime, agent: Agent, birth: Birth) -> None:
    """Returns at the first healthy answer. Raises ContainerFaultError as soon as the container is seen to be dead, with
    what the host says about its end. Waits as long as the caller's scope lets it."""
    pause = FIRST_PAUSE
    began = trio.current_time()
    while not await _answers(agent, max(PROBE_AT_LEAST, 4 * pause)):
        if trio.current_time() - began > LOOK_AFTER and not await runtime.alive(birth.name):
            said, tail = await runtime.diagnose(birth.name), await runtime.log_tail(birth.name)
            raise ContainerFaultError(birth.name, birth.container.image, said, log_tail=tail)
        await trio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


async def _answers(agent: Agent, patience: float) -> bool:
    with trio.move_on_after(patience):
        try:
            await agent.health()
        except ContainerLostError:
            return False
        return True
    return False
