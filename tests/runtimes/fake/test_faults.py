"""Faults to order: each call can fail before or after, hang, be slow, or lie."""

import math
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from warmlane.agent.protocol import BlockCall, Exit, LogLine
from warmlane.errors import (
    ContainerLostError,
    RuntimeRefusedError,
    RuntimeSilentError,
)
from warmlane.runtimes.fake import open_fake_runtime
from warmlane.runtimes.fake_blocks import ignores_sigterm, sleeps
from warmlane.runtimes.fake_box import INSTANT, Pace
from warmlane.runtimes.fake_faults import Fault, fails_after, fails_before, ghost, hangs, lies, refused, slow
from warmlane.runtimes.protocol import Birth

PACE = Pace()


async def test_fails_before(birth: Callable[..., Birth], autojump_clock: MockClock) -> None:
    async with open_fake_runtime() as runtime:
        runtime.host.orders.order(fails_before(), "create")
        runtime.host.orders.order(fails_before(refused), "create")
        with pytest.raises(RuntimeSilentError):
            await runtime.create(birth())
        with pytest.raises(RuntimeRefusedError) as caught:
            await runtime.create(birth())
        assert caught.value.status == 500
        assert runtime.host.leftovers() == []
        await runtime.create(birth())


async def test_fails_after(birth: Callable[..., Birth], autojump_clock: MockClock) -> None:
    async with open_fake_runtime() as runtime:
        runtime.host.orders.order(fails_after(), "create")
        with pytest.raises(RuntimeSilentError):
            await runtime.create(birth())
        assert runtime.host.names("created") == ["a"]


async def test_a_ghost_appears_after_its_creation_has_failed(
    birth: Callable[..., Birth], autojump_clock: MockClock
) -> None:
    async with open_fake_runtime() as runtime:
        runtime.host.orders.order(ghost(0.2), "create")
        with pytest.raises(RuntimeSilentError):
            await runtime.create(birth())
        await runtime.remove("a")
        assert runtime.host.names() == []
        await trio.sleep(0.2)
        assert runtime.host.names() == ["a"]


async def test_a_late_effect_that_finds_nothing_is_nobodys_concern(
    birth: Callable[..., Birth], autojump_clock: MockClock
) -> None:
    async with open_fake_runtime() as runtime:
        await runtime.create(birth())
        runtime.host.orders.order(ghost(5), "start")
        with pytest.raises(RuntimeSilentError):
            await runtime.start("a")
        await runtime.remove("a")
        await trio.sleep(10)
        assert runtime.host.leftovers() == []


async def test_errors_speak_of_what_was_asked(autojump_clock: MockClock) -> None:
    async with open_fake_runtime() as runtime:
        runtime.host.orders.order(fails_before(refused), times=3)
        with pytest.raises(RuntimeRefusedError, match=r"^could not list the containers: Internal Server Error$"):
            await runtime.owned()
        with pytest.raises(RuntimeRefusedError, match=r"^could not inspect a: Internal Server Error$"):
            await runtime.alive("a")
        with pytest.raises(ContainerLostError, match=r"^the container was lost: it answered 500$"):
            await runtime.agent("a").health()


@pytest.mark.parametrize("does", [True, False])
async def test_hangs(born: Callable[..., Awaitable[None]], autojump_clock: MockClock, does: bool) -> None:
    async with open_fake_runtime() as runtime:
        await born(runtime)
        runtime.host.orders.order(hangs(does=does), "pause")
        with trio.move_on_after(1000) as scope:
            await runtime.pause("a")
        assert scope.cancelled_caught
        assert runtime.host.names("paused") == (["a"] if does else [])


async def test_a_create_that_hangs_is_given_up_in_the_end(
    birth: Callable[..., Birth], took: Callable[[], float], autojump_clock: MockClock
) -> None:
    """It cannot be cancelled, so the runtime's own patience ends it."""
    async with open_fake_runtime() as runtime:
        runtime.host.orders.order(hangs(), "create")
        took()
        with trio.move_on_after(1), pytest.raises(RuntimeSilentError):
            await runtime.create(birth())
        assert took() == PACE.create + PACE.patience


async def test_slow(birth: Callable[..., Birth], took: Callable[[], float], autojump_clock: MockClock) -> None:
    async with open_fake_runtime() as runtime:
        runtime.host.orders.order(slow(3), "create")
        took()
        await runtime.create(birth())
        assert took() == PACE.create + 3


async def test_lies(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    async with open_fake_runtime() as runtime:
        await born(runtime)
        orders = runtime.host.orders
        orders.order(lies(), "remove")
        await runtime.remove("a")
        assert runtime.host.names() == ["a"]
        orders.order(lies(False), "alive")
        assert await runtime.alive("a") is False
        orders.order(lies([]), "owned")
        assert await runtime.owned() == []
        orders.order(lies(Exit(code=3)), "run")
        assert await runtime.agent("a").run(block_call(), unheard) == Exit(code=3)


async def test_a_connection_that_breaks_ends_the_block(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    took: Callable[[], float],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    async with open_fake_runtime(blocks={"b": ignores_sigterm(100)}, pace=INSTANT) as runtime:
        await born(runtime)
        runtime.host.orders.order(fails_after(delay=2), "run")
        took()
        with pytest.raises(ContainerLostError):
            await runtime.agent("a").run(block_call(), unheard)
        assert took() == 2
        assert runtime.host.running_blocks() == ["b"]
        await trio.sleep(0.6)
        assert runtime.host.running_blocks() == []


async def test_an_end_that_was_carried_out_but_not_confirmed(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    hung_up: Callable[..., Awaitable[None]],
    autojump_clock: MockClock,
) -> None:
    async with open_fake_runtime(blocks={"b": sleeps(100)}, pace=INSTANT) as runtime:
        await born(runtime)
        await hung_up(runtime, block_call())
        runtime.host.orders.order(fails_after(), "end")
        with pytest.raises(ContainerLostError):
            await runtime.agent("a").end("r1")
        await wait_all_tasks_blocked()
        assert runtime.host.running_blocks() == []


async def test_orders_pick_their_calls(birth: Callable[..., Birth], autojump_clock: MockClock) -> None:
    async with open_fake_runtime() as runtime:
        orders = runtime.host.orders
        orders.order(fails_before(), "start", name="b", skip=1, times=2)
        for name in ("a", "b"):
            await runtime.create(birth(name))
        failed: list[str] = []
        for name in ("a", "b") * 4:
            try:
                await runtime.start(name)
            except RuntimeSilentError:
                failed.append(name)
        assert failed == ["b", "b"]
        assert [(call.number, fault) for call, fault in orders.made] == [(6, fails_before()), (8, fails_before())]
        orders.order(fails_before(), times=math.inf)
        with pytest.raises(RuntimeSilentError):
            await runtime.alive("a")
        orders.clear()
        await runtime.alive("a")


async def test_a_function_of_ones_own_decides_about_faults(
    birth: Callable[..., Birth], autojump_clock: MockClock
) -> None:
    """What a simulator sets: it sees every call, with its number."""
    async with open_fake_runtime() as runtime:
        runtime.host.faults = lambda a_call: fails_before() if a_call.number == 2 else Fault()
        await runtime.create(birth())
        with pytest.raises(RuntimeSilentError):
            await runtime.start("a")
        await runtime.start("a")
