"""`warmlane gc`: what sessions have left that were killed, or could not remove it, is removed; whatever may belong to a
living one stays."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import trio

from warmlane.cli import exits
from warmlane.errors import RuntimeUnavailableError
from warmlane.runtimes import open_runtime
from warmlane.runtimes.owner import owner_label
from warmlane.runtimes.sweep import Swept, sweep


def collect(runtime: str, say: Callable[[str], None]) -> int:
    """Sweeps `runtime`, or all that answer if it is `auto`. Returns the exit code: 1 if something would not go.

    Raises RuntimeUnavailableError if the one that was asked for does not answer.
    """
    failed = False
    for kind in ("docker", "process") if runtime == "auto" else (runtime,):
        try:
            swept = trio.run(_sweep, kind)
        except RuntimeUnavailableError as error:
            if runtime != "auto":
                raise
            say(f"{kind}: not looked at: {error.said}")
            continue
        for line in _told(kind, swept):
            say(line)
        failed = failed or bool(swept.failed)
    return exits.FAILED if failed else exits.COMPLETED


async def _sweep(kind: str) -> Swept:
    async with open_runtime(kind, session_id=secrets.token_hex(4), owner=owner_label()) as runtime:
        return await sweep(runtime)


def _told(kind: str, swept: Swept) -> list[str]:
    return [
        *(f"{kind}: removed {name}" for name in swept.removed),
        *(f"{kind}: could not remove {name}: {why}" for name, why in swept.failed),
        f"{kind}: {len(swept.removed)} removed, {len(swept.failed)} failed, {len(swept.kept)} kept (in use)",
    ]
