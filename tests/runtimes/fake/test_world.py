"""What the outside world does to simulated containers, and what there is to see of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from warmlane.agent.protocol import BlockCall, Exit, LogLine
from warmlane.errors import (
    ContainerLostError,
)
from warmlane.runtimes.fake import open_fake_runtime
from warmlane.runtimes.fake_blocks import ignores_sigterm, sleeps
from warmlane.runtimes.fake_host import FakeHost
from warmlane.runtimes.protocol import Sighting


async def sighted(sightings: AsyncIterator[Sighting]) -> list[tuple[str, str]]:
    """What has been seen so far."""
    seen: list[tuple[str, str]] = []
    with trio.move_on_after(0.001):
        async for sighting in sightings:
            seen.append((sighting.kind, sighting.name))  # noqa: PERF401 - it ends by cancellation
    return seen


@pytest.mark.parametrize(
    ("happens", "sightings", "alive", "diagnosis"),
    [
        (lambda host: (host.kill("a"), host.kill("a")), [("died", "a")], False, "it was killed by SIGKILL"),
        (
            lambda host: host.out_of_memory("a"),
            [("oom", "a"), ("died", "a")],
            False,
            "it was killed for exceeding its memory limit",
        ),
        (
            lambda host: host.remove_behind_back("a"),
            [("died", "a"), ("removed", "a")],
            False,
            "it does not exist any more",
        ),
        (lambda host: host.forget("a"), [], False, "it does not exist any more"),
        (lambda host: host.freeze("a"), [("paused", "a")], True, "it runs"),
        (lambda host: (host.freeze("a"), host.thaw("a")), [("paused", "a"), ("unpaused", "a")], True, "it runs"),
    ],
    ids=["kill", "oom", "remove", "forget", "freeze", "thaw"],
)
async def test_what_happens_behind_our_back(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
    happens: Callable[[FakeHost], Any],
    sightings: list[tuple[str, str]],
    alive: bool,
    diagnosis: str,
) -> None:
    """It is told to the watch, seen by who looks, and ends the blocks of a container that is gone."""
    async with open_fake_runtime(blocks={"b": sleeps(10, output=1)}) as runtime:
        await born(runtime)
        outcomes: list[str] = []
        async with runtime.watch() as watch, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def runner() -> None:
                try:
                    outcomes.append(str((await runtime.agent("a").run(block_call(), unheard)).output))
                except ContainerLostError:
                    outcomes.append("lost")

            await trio.sleep(1)
            happens(runtime.host)
            assert await sighted(watch) == sightings
            assert await runtime.alive("a") is alive
            assert await runtime.diagnose("a") == diagnosis
            if alive:
                runtime.host.thaw("a")
        assert outcomes == ["1" if alive else "lost"]
        assert runtime.host.running_blocks() == []


async def test_the_kernel_kills_one_block_for_memory(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    async with open_fake_runtime(blocks={"b": ignores_sigterm(10), "c": sleeps(10)}, blocks_at_once=2) as runtime:
        await born(runtime)
        exits: dict[str, Exit] = {}

        async def runner(block_id: str) -> None:
            exits[block_id] = await runtime.agent("a").run(block_call(block_id, block_id), unheard)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(runner, "b")
            nursery.start_soon(runner, "c")
            await trio.sleep(1)
            runtime.host.out_of_memory("a", "b")
            await wait_all_tasks_blocked()
            assert [(block_id, exited.fault) for block_id, exited in exits.items()] == [("b", "oom")]
        assert exits["c"] == Exit(code=0)
        assert await runtime.alive("a")


async def test_our_own_calls_are_sighted_too(born: Callable[..., Awaitable[None]], autojump_clock: MockClock) -> None:
    async with open_fake_runtime() as runtime, runtime.watch() as watch:
        await born(runtime)
        await runtime.pause("a")
        await runtime.pause("a")
        await runtime.unpause("a")
        await runtime.unpause("a")
        await runtime.remove("a")
        assert await sighted(watch) == [("paused", "a"), ("unpaused", "a"), ("died", "a"), ("removed", "a")]


async def test_a_watch_that_was_interrupted_says_resync(
    born: Callable[..., Awaitable[None]], autojump_clock: MockClock
) -> None:
    async with open_fake_runtime() as runtime, runtime.watch() as watch:
        await born(runtime)
        runtime.host.lose_sight()
        runtime.host.kill("a")
        runtime.host.regain_sight()
        assert await sighted(watch) == [("resync", "")]


async def test_leftovers_are_everything_that_still_exists(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    async with open_fake_runtime(blocks={"b": sleeps(100)}, blocks_at_once=None) as runtime:
        host = runtime.host
        assert host.leftovers() == []
        await born(runtime, "a", "b")
        await runtime.pause("b")
        async with trio.open_nursery() as nursery, runtime.watch():
            nursery.start_soon(runtime.agent("a").run, block_call(), unheard)
            await trio.sleep(1)
            nursery.start_soon(runtime.agent("b").health)
            await wait_all_tasks_blocked()
            assert host.leftovers() == [
                "container a is running",
                "container b is paused",
                "block b runs in a",
                "'health b' is under way",
                "a watch is open",
            ]
            nursery.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert host.leftovers() == ["container a is running", "container b is paused"]


async def test_all_calls_are_kept_in_order(born: Callable[..., Awaitable[None]], autojump_clock: MockClock) -> None:
    async with open_fake_runtime() as runtime:
        await born(runtime, "a", "b")
        await runtime.remove("a")
        calls = [(call.number, call.kind, call.name) for call in runtime.host.calls]
        assert calls == [
            (1, "create", "a"),
            (2, "start", "a"),
            (3, "create", "b"),
            (4, "start", "b"),
            (5, "remove", "a"),
        ]
        assert [call.number for call in runtime.host.asked("create", "start", name="b")] == [3, 4]
