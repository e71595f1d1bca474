"""Removing what sessions have left that were killed or could not remove it themselves, and nothing of a live one.

`warmlane gc` calls it, every session's start, and the reaper of a session whose engine has died.
"""

from __future__ import annotations

import trio
from attrs import frozen

from warmlane.errors import WarmlaneError
from warmlane.runtimes.owner import owner_is_dead
from warmlane.runtimes.protocol import Runtime
from warmlane.settings import Graces


@frozen(kw_only=True)
class Swept:
    """What a sweep did. `kept` belong to sessions that live, or of which we cannot know; `failed` says why."""

    removed: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    """Names with the sentence that tells why they could not be confirmed gone."""
    kept: tuple[str, ...] = ()


async def sweep(runtime: Runtime, graces: Graces | None = None, *, ended: str | None = None) -> Swept:
    """Removes all containers whose owner is known to be dead, or whose session to have ended, side by side, each
    within the grace for removals.

    ended: a session of which the caller knows that it has ended; then all of that session's, and no others.
    Raises what `owned` raises. Cancelling leaves removals undone; the next sweep does them.
    """
    grace = (graces or Graces()).remove
    found = await runtime.owned()
    if ended is None:
        dead = [container.name for container in found if container.abandoned or owner_is_dead(container.owner)]
    else:
        dead = [container.name for container in found if container.session_id == ended]
    failed: dict[str, str] = {}

    async def remove(name: str) -> None:
        with trio.move_on_after(grace) as scope:
            try:
                await runtime.remove(name)
            except WarmlaneError as error:
                failed[name] = str(error)
        if scope.cancelled_caught:
            failed[name] = f"its removal was not confirmed within {grace:g} seconds"

    async with trio.open_nursery() as nursery:
        for name in dead:
            nursery.start_soon(remove, name)
    return Swept(
        removed=tuple(name for name in dead if name not in failed),
        failed=tuple(failed.items()),
        kept=tuple(container.name for container in found if container.name not in dead),
    )
