"""The pool as a service: open as long as the context is, and with nothing left when it has closed.

Cancelling the body does not reach into the pool's tasks: they are shielded, and ended by `teardown`, which is bounded.
What could not be confirmed gone is in `Pool.left_behind` afterwards.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from warmlane.bus import Bus
from warmlane.errors import WarmlaneError
from warmlane.nursery import open_service_nursery
from warmlane.pool.pool import Pool
from warmlane.runtimes.protocol import Runtime
from warmlane.settings import Settings


@asynccontextmanager
async def open_pool(
    runtime: Runtime, bus: Bus, settings: Settings, *, session_id: str, owner: str
) -> AsyncGenerator[Pool]:
    """A pool over a runtime that is open already, and stays open for longer."""
    closing = trio.Event()
    send, receive = trio.open_memory_channel[Pool](1)

    async def serve() -> None:
        with trio.CancelScope(shield=True):
            await _serve(runtime, bus, settings, session_id, owner, closing, send)

    async with open_service_nursery() as nursery:
        # Not `nursery.start`: cancelled in that very moment, it would wait behind the shield for ever.
        nursery.start_soon(serve, name="pool")  # noqa: ASYNC113
        try:
            yield await receive.receive()
        finally:
            closing.set()


async def _serve(
    runtime: Runtime,
    bus: Bus,
    settings: Settings,
    session_id: str,
    owner: str,
    closing: trio.Event,
    opened: trio.MemorySendChannel[Pool],
) -> None:
    pool: Pool | None = None
    try:
        async with trio.open_nursery() as nursery:
            pool = Pool(runtime, bus, settings, nursery, session_id=session_id, owner=owner)
            nursery.start_soon(pool.watch, name="watching the runtime")
            opened.send_nowait(pool)
            await closing.wait()
            await pool.teardown()
            nursery.cancel_scope.cancel()
    except BaseException:
        # The pool itself has crashed: our own bug, and no reason to leave its containers running.
        for name in pool.left_behind if pool else ():
            await _remove(runtime, name, settings)  # noqa: ASYNC102 - shielded and bounded itself
        raise


async def _remove(runtime: Runtime, name: str, settings: Settings) -> None:
    with trio.move_on_after(settings.graces.remove, shield=True):
        try:
            await runtime.remove(name)
        except WarmlaneError:
            return  # the next start of a session finds it by its label
