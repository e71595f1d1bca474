"""A nursery for services: the body's exception leaves as it came, and no task outlives it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from warmlane.nursery import open_service_nursery


async def test_tasks_end_with_the_body(autojump_clock: MockClock) -> None:
    ended: list[str] = []

    async def serve() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("served")

    async with open_service_nursery() as nursery:
        nursery.start_soon(serve)
        await trio.sleep(1)
    assert ended == ["served"]


async def body(end: Callable[[], Awaitable[None]]) -> None:
    async with open_service_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await trio.sleep(1)
        await end()


async def test_exception_of_the_body_leaves_as_it_came(autojump_clock: MockClock) -> None:
    async def end() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await body(end)


async def test_exception_of_the_body_wins_over_a_cancellation(autojump_clock: MockClock) -> None:
    """Outside, somebody has cancelled; the body failed meanwhile, and that is what is told."""
    scope = trio.CancelScope()

    async def end() -> None:
        scope.cancel()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), scope:
        await body(end)


async def test_cancellation_of_the_body_goes_on(autojump_clock: MockClock) -> None:
    with trio.move_on_after(2) as scope:
        await body(trio.sleep_forever)
    assert scope.cancelled_caught


async def test_cancellation_on_the_way_out_goes_on(autojump_clock: MockClock) -> None:
    """The body ended well, and a service that takes its time to end is cut by the caller's scope."""

    async def slow() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    with trio.move_on_after(2) as scope:
        async with open_service_nursery() as nursery:
            nursery.start_soon(slow)
            await trio.sleep(1)
        pytest.fail("the cancellation was lost")
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(6)


async def test_crash_of_a_service_cancels_the_body_and_is_told(autojump_clock: MockClock) -> None:
    async def crash() -> None:
        raise ZeroDivisionError

    async def run() -> None:
        async with open_service_nursery() as nursery:
            nursery.start_soon(crash)
            await trio.sleep_forever()

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await run()
