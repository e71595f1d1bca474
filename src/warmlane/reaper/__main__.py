"""What the reaper does once the engine is dead: removes all that carries the session's label.

    python -m warmlane.reaper RUNTIME SESSION

It looks several times, for what the daemon was asked to create while the engine died may appear later, and a daemon
that does not answer now may do so in a moment. What it cannot remove is left to the next start of a session.
"""

from __future__ import annotations

import secrets
import sys

import trio

from warmlane.errors import WarmlaneError
from warmlane.runtimes import open_runtime
from warmlane.runtimes.owner import owner_label
from warmlane.runtimes.sweep import sweep
from warmlane.settings import Graces

_PAUSES = (0.0, 1.0, 2.0, 3.0)
"""Seconds before each look. The last one comes when a create that was never answered has had its time."""


async def reap(kind: str, session_id: str, graces: Graces) -> None:
    """Removes what there is of a session that has ended, whoever owns it; never raises for what a host does."""
    for pause in _PAUSES:
        await trio.sleep(pause)
        try:
            async with open_runtime(kind, session_id=secrets.token_hex(4), owner=owner_label()) as runtime:
                await sweep(runtime, graces, ended=session_id)
        except WarmlaneError:
            continue  # looked at again


if __name__ == "__main__":
    trio.run(reap, sys.argv[1], sys.argv[2], Graces(remove=5.0))
