"""Simulated time: how long calls take, and what is left of one that is cancelled."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from warmlane.agent.protocol import BlockCall, LogLine
from warmlane.errors import (
    ContainerLostError,
)
from warmlane.runtimes.fake import open_fake_runtime
from warmlane.runtimes.fake_blocks import ignores_sigterm, sleeps
from warmlane.runtimes.fake_box import INSTANT, Pace
from warmlane.runtimes.protocol import Birth

PACE = Pace()


async def test_every_call_takes_its_time(
    birth: Callable[..., Birth],
    block_call: Callable[..., BlockCall],
    took: Callable[[], float],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    pace = Pace(create=1, start=2, boot=4, pause=8, unpause=16, remove=32, look=64, agent=0.5)
    async with open_fake_runtime(pace=pace) as runtime:
        steps: list[tuple[Callable[[], Awaitable[object]], float]] = [
            (lambda: runtime.create(birth()), 1),
            (lambda: runtime.start("a"), 2),
            (partial(trio.sleep, 4), 4),
            (lambda: runtime.agent("a").health(), 0.5),
            (lambda: runtime.agent("a").run(block_call(), unheard), 0.5),
            (lambda: runtime.pause("a"), 8),
            (lambda: runtime.unpause("a"), 16),
            (lambda: runtime.alive("a"), 64),
            (lambda: runtime.diagnose("a"), 64),
            (lambda: runtime.log_tail("a"), 64),
            (lambda: runtime.owned(), 64),
            (lambda: runtime.remove("a"), 32),
        ]
        for step, seconds in steps:
            took()
            await step()
            assert took() == seconds


async def test_without_any_pace_each_call_is_one_checkpoint(
    birth: Callable[..., Birth], took: Callable[[], float], autojump_clock: MockClock
) -> None:
    async with open_fake_runtime(pace=INSTANT) as runtime:
        steps: list[Callable[[], Awaitable[object]]] = [
            lambda: runtime.create(birth()),
            lambda: runtime.start("a"),
            lambda: runtime.agent("a").health(),
            lambda: runtime.pause("a"),
            lambda: runtime.unpause("a"),
            lambda: runtime.remove("a"),
        ]
        took()
        for step in steps:
            with trio.testing.assert_checkpoints():
                await step()
        assert took() == 0


async def test_it_is_not_healthy_before_it_has_booted(birth: Callable[..., Birth], autojump_clock: MockClock) -> None:
    async with open_fake_runtime(pace=Pace(boot=1.0)) as runtime:
        await runtime.create(birth())
        agent = runtime.agent("a")
        with pytest.raises(ContainerLostError):
            await agent.health()
        await runtime.start("a")
        await trio.sleep(0.99)
        with pytest.raises(ContainerLostError):
            await agent.health()
        await trio.sleep(0.01)
        await agent.health()


@pytest.mark.parametrize("after", [0.0, 0.01])
async def test_create_and_start_happen_whole_or_not_at_all(
    birth: Callable[..., Birth], took: Callable[[], float], autojump_clock: MockClock, after: float
) -> None:
    async with open_fake_runtime() as runtime:
        took()
        with trio.move_on_after(after):
            await runtime.create(birth())
        assert took() == (PACE.create if after else 0)
        assert runtime.host.names() == (["a"] if after else [])
        if after:
            took()
            with trio.move_on_after(after):
                await runtime.start("a")
            assert took() == PACE.start
            assert runtime.host.names("running") == ["a"]


async def test_a_call_that_is_cut_is_carried_out_all_the_same(
    born: Callable[..., Awaitable[None]], took: Callable[[], float], autojump_clock: MockClock
) -> None:
    """A daemon that has read a request goes on, whoever hangs up."""
    async with open_fake_runtime() as runtime:
        await born(runtime)
        took()
        with trio.move_on_after(0.001):
            await runtime.pause("a")
        assert took() == 0.001
        assert runtime.host.names("running") == ["a"]
        await trio.sleep(PACE.pause)
        assert runtime.host.names("paused") == ["a"]
        with trio.move_on_after(0.001):
            await runtime.remove("a")
        await trio.sleep(PACE.remove)
        assert runtime.host.leftovers() == []


async def test_a_call_that_was_cancelled_before_it_was_sent_never_happened(
    born: Callable[..., Awaitable[None]], autojump_clock: MockClock
) -> None:
    async with open_fake_runtime() as runtime:
        await born(runtime)
        with trio.move_on_after(0):
            await runtime.remove("a")
        await trio.sleep(1)
        assert runtime.host.leftovers() == ["container a is running"]
        assert runtime.host.asked("remove") == []


async def test_a_block_whose_call_was_cut_on_its_way_does_not_start(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    hung_up: Callable[..., Awaitable[None]],
    autojump_clock: MockClock,
) -> None:
    async with open_fake_runtime(pace=Pace(agent=1.0), blocks={"b": sleeps(100)}) as runtime:
        await born(runtime)
        await hung_up(runtime, block_call(), after=0.5)
        await trio.sleep(10)
        assert runtime.host.running_blocks() == []


async def test_the_world_goes_on_when_everything_else_is_cancelled(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    """Shielded clean-up finds its host, and blocks still end on their own time."""
    with trio.CancelScope() as scope:
        async with open_fake_runtime(blocks={"b": ignores_sigterm(100)}) as runtime:
            await born(runtime)
            try:
                scope.cancel()
                await runtime.agent("a").run(block_call(), unheard)
            finally:
                with trio.CancelScope(shield=True):
                    await runtime.remove("a")
                assert runtime.host.leftovers() == []
    assert scope.cancelled_caught
