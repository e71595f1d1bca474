"""Cancellation and races on the real daemon: nothing is left, nobody else is hurt."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
import trio

pytestmark = pytest.mark.docker


def busy_threads() -> list[str]:
    return [
        thread.name for thread in threading.enumerate() if not thread.name.startswith(("MainThread", "Trio thread"))
    ]


async def test_a_removal_after_a_birth_that_was_cancelled_at_random_is_final(bench: Any, client: Any) -> None:
    """What the pool rests on; the pool's own births are cancelled in tests/faults."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown when it fails
    moments = random.Random(seed)
    cancelled = 0

    async def live(moment: float) -> None:
        nonlocal cancelled
        with trio.move_on_after(moment) as scope:
            async with bench.born(healthy=False) as name:
                await bench.runtime.pause(name)
                await bench.runtime.unpause(name)
        cancelled += scope.cancelled_caught

    async with trio.open_nursery() as nursery:
        for _ in range(60):
            nursery.start_soon(live, moments.uniform(0, 2))
    assert cancelled > 0
    ours = {"label": f"warmlane.session={bench.session_id}"}
    assert await trio.to_thread.run_sync(lambda: client.containers(all=True, filters=ours)) == []
    assert busy_threads() == []


async def test_calls_that_are_cut_leave_no_thread_and_hurt_no_other(bench: Any) -> None:
    cut = 0

    async def look() -> None:
        for _ in range(25):
            assert await bench.runtime.alive(name)

    async def hang_up() -> None:
        nonlocal cut
        for step in range(25):
            with trio.move_on_after(step * 0.0004) as scope:
                await bench.runtime.diagnose(name)
            cut += scope.cancelled_caught

    async with bench.born() as name:
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(look)
                nursery.start_soon(hang_up)
        assert cut > 0
        assert busy_threads() == []


async def test_freezing_and_thawing_eight_at_once_without_a_gap(bench: Any) -> None:
    """Here the daemon says 500 now and then, to what is in order."""

    async def flutter() -> None:
        async with bench.born() as name:
            ready.release()
            await all_ready.wait()
            for _ in range(20):
                await bench.runtime.pause(name)
                await bench.runtime.unpause(name)
            await bench.healthy(name)

    ready, all_ready = trio.Semaphore(0), trio.Event()
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(flutter)
            for _ in range(8):
                await ready.acquire()
            all_ready.set()


async def test_a_removal_wins_over_freezing_and_thawing(bench: Any) -> None:
    for _ in range(3):
        async with bench.born() as name:
            async with trio.open_nursery() as nursery:

                async def flutter(name: str = name, scope: trio.CancelScope = nursery.cancel_scope) -> None:
                    while True:
                        await bench.runtime.pause(name)
                        await bench.runtime.unpause(name)

                nursery.start_soon(_until_lost, flutter)
                await bench.runtime.remove(name)
            assert await bench.runtime.diagnose(name) == "it does not exist any more"


async def _until_lost(body: Any) -> None:
    from warmlane.errors import ContainerLostError

    with pytest.raises(ContainerLostError):
        await body()
