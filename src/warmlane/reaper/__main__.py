"""What the reaper does once the engine is dead: removes all that carries the session's label.

    python -m warmlane.reaper RUNTIME SESSION

It looks several times, for what the daemon was asked to create while the engine died may appear later. After a look at
which something went wrong it looks again, for a minute; what it cannot remove then is left to the next start of a
session. Nobody hears it any more, so it writes what went wrong into the session's run directory, where it stays as long
as the container that it tells of.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from functools import partial
from itertools import count

import trio

from warmlane.errors import WarmlaneError
from warmlane.runtimes import open_runtime
from warmlane.runtimes.owner import owner_label
from warmlane.runtimes.rundir import note
from warmlane.runtimes.sweep import sweep
from warmlane.settings import Graces

PAUSES = (0.0, 1.0, 2.0, 3.0)
"""Seconds before each look, and the last one again and again. At the fourth, a create that was never answered has had
its time."""
LOOK = 15.0
"""Seconds for one look: for the daemon's hello, its list, and the removals side by side."""
BOUND = 60.0
"""Seconds after which it ends, whatever is left. A daemon that is being restarted is back by then."""


async def reap(kind: str, session_id: str, graces: Graces, say: Callable[[str], None]) -> None:
    """Removes what there is of a session that has ended, whoever owns it; never raises for what a host does.

    say is told what went wrong, in a sentence, once for each name and reason; and at the end, that it was given up.
    """
    told: set[str] = set()
    with trio.move_on_after(BOUND):
        for look in count():
            await trio.sleep(PAUSES[min(look, len(PAUSES) - 1)])
            wrong = await _look(kind, session_id, graces)
            for sentence in wrong:
                if sentence not in told:
                    told.add(sentence)
                    say(sentence)
            if not wrong and look + 1 >= len(PAUSES):
                return
    say(f"given up after {BOUND:g} seconds: run 'warmlane gc', or start another session")


async def _look(kind: str, session_id: str, graces: Graces) -> list[str]:
    """Removes what is there. What went wrong, a sentence for each."""
    with trio.move_on_after(LOOK):
        try:
            async with open_runtime(kind, session_id=secrets.token_hex(4), owner=owner_label()) as runtime:
                swept = await sweep(runtime, graces, ended=session_id)
        except WarmlaneError as error:
            return [f"could not look for what is left: {error}"]
        return [f"could not remove {name}: {why}" for name, why in swept.failed]
    return [f"could not look for what is left: no answer within {LOOK:g} seconds"]


if __name__ == "__main__":
    trio.run(reap, sys.argv[1], sys.argv[2], Graces(remove=5.0), partial(note, sys.argv[2]))
