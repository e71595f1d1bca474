"""What blocks do in simulated containers, and how they are ended."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from warmlane.agent.protocol import BlockCall, Exit, LogLine
from warmlane.errors import (
    ContainerLostError,
)
from warmlane.runtimes.fake import open_fake_runtime
from warmlane.runtimes.fake_blocks import FakeCall, Killed, fails, ignores_sigterm, prints, sleeps
from warmlane.runtimes.fake_box import INSTANT, Pace

PACE = Pace()


async def test_a_block_is_a_function_of_its_call(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    seen: list[FakeCall] = []

    def sync(a_call: FakeCall) -> Any:
        seen.append(a_call)
        return {"got": a_call.input}

    async def other(a_call: FakeCall) -> Any:
        await trio.sleep(2)
        return sync(a_call)

    async with open_fake_runtime(blocks={"sync": sync, "other": other}) as runtime:
        await born(runtime)
        for block_id in ("sync", "other"):
            exited = await runtime.agent("a").run(block_call(block_id, f"run-{block_id}", given={"n": [1]}), unheard)
            assert exited == Exit(code=0, output={"got": {"n": [1]}})
        assert [(a.container, a.block_id, a.execution_id, a.attempt) for a in seen] == [
            ("a", "sync", "e1", 2),
            ("a", "other", "e1", 2),
        ]


async def test_a_block_that_nobody_named_does_nothing(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    async with open_fake_runtime() as runtime:
        await born(runtime)
        assert await runtime.agent("a").run(block_call(given={"n": 1}), unheard) == Exit(code=0)


def raises(_call: FakeCall) -> None:
    raise LookupError("no such thing")


def is_killed(_call: FakeCall) -> None:
    raise Killed(11)


def is_out_of_memory(_call: FakeCall) -> None:
    raise Killed(oom=True)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (fails("the disk is full"), Exit(code=1, error="the disk is full", fault="error")),
        (fails("usage", code=64), Exit(code=64, error="usage", fault="error")),
        (raises, Exit(code=1, error="LookupError: no such thing", fault="error")),
        (is_killed, Exit(signal=11, error="it was killed by SIGSEGV", fault="signal")),
        (is_out_of_memory, Exit(signal=9, error="it exceeded the memory limit of its container", fault="oom")),
        (
            lambda _call: "x" * 100,
            Exit(code=0, error="its output has 102 bytes, over the limit of 101", fault="bad-output"),
        ),
        (lambda _call: "x" * 99, Exit(code=0, output="x" * 99)),
        (lambda _call: (1, 2), Exit(code=0, output=[1, 2])),
    ],
)
async def test_how_blocks_end(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
    block: Callable[[FakeCall], Any],
    expected: Exit,
) -> None:
    async with open_fake_runtime(blocks={"b": block}) as runtime:
        await born(runtime)
        assert await runtime.agent("a").run(block_call(limit=101), unheard) == expected


@pytest.mark.parametrize("output", [math.nan, {1, 2}])
async def test_an_output_that_is_not_json(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
    output: object,
) -> None:
    async with open_fake_runtime(blocks={"b": lambda _call: output}) as runtime:
        await born(runtime)
        exited = await runtime.agent("a").run(block_call(), unheard)
        assert (exited.code, exited.output, exited.fault) == (0, None, "bad-output")
        assert exited.error is not None
        assert exited.error.startswith("its output is not JSON: ")


async def test_what_a_block_prints_arrives_line_by_line_as_it_comes(
    block_call: Callable[..., BlockCall], born: Callable[..., Awaitable[None]], autojump_clock: MockClock
) -> None:
    heard: list[tuple[float, LogLine]] = []

    async def speaks(a_call: FakeCall) -> None:
        a_call.log("one\ntwo")
        await trio.sleep(1)
        a_call.log("three", "stderr")

    async with open_fake_runtime(blocks={"b": speaks}, pace=INSTANT) as runtime:
        await born(runtime)
        await runtime.agent("a").run(block_call(), lambda line: heard.append((trio.current_time(), line)))
    began = heard[0][0]
    assert [(at - began, line.stream, line.text) for at, line in heard] == [
        (0, "stdout", "one"),
        (0, "stdout", "two"),
        (1, "stderr", "three"),
    ]


async def test_ready_made_blocks(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    took: Callable[[], float],
    autojump_clock: MockClock,
) -> None:
    heard: list[str] = []
    blocks = {"sleeps": sleeps(3, output=1), "prints": prints(["x", "y"], output=2, every=1.5)}
    async with open_fake_runtime(blocks=blocks, pace=INSTANT) as runtime:
        await born(runtime)
        for number, block_id in enumerate(blocks, 1):
            took()
            exited = await runtime.agent("a").run(block_call(block_id, block_id), lambda line: heard.append(line.text))
            assert took() == 3
            assert exited.output == number
    assert heard == ["x", "y"]


async def test_ending_a_block_terminates_it_and_confirms(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    took: Callable[[], float],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    async with open_fake_runtime(blocks={"b": sleeps(100)}, pace=INSTANT) as runtime, trio.open_nursery() as nursery:
        await born(runtime)
        exits: list[Exit] = []

        @nursery.start_soon
        async def runner() -> None:
            exits.append(await runtime.agent("a").run(block_call(), unheard))

        await wait_all_tasks_blocked()
        took()
        await runtime.agent("a").end("r1")
        assert took() == 0
        assert runtime.host.running_blocks() == []
        await wait_all_tasks_blocked()
        assert exits == [Exit(signal=15, error="it was killed by SIGTERM", fault="signal")]


async def test_a_block_that_ignores_sigterm_is_killed_after_the_grace(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    hung_up: Callable[..., Awaitable[None]],
    took: Callable[[], float],
    autojump_clock: MockClock,
) -> None:
    async with open_fake_runtime(blocks={"b": ignores_sigterm(100)}, pace=INSTANT) as runtime:
        await born(runtime)
        await hung_up(runtime, block_call(), after=1)
        assert runtime.host.running_blocks() == ["b"]
        took()
        await runtime.agent("a").end("r1")
        assert took() == 0.5
        assert runtime.host.running_blocks() == []


async def test_a_block_that_ignores_sigterm_may_finish_within_the_grace(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    async with open_fake_runtime(blocks={"b": ignores_sigterm(1.3, output=7)}, pace=INSTANT) as runtime:
        await born(runtime)
        exits: list[Exit] = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def runner() -> None:
                exits.append(await runtime.agent("a").run(block_call(), unheard))

            await trio.sleep(1)
            await runtime.agent("a").end("r1")
        assert exits == [Exit(code=0, output=7)]


async def test_hanging_up_ends_the_block_even_if_nobody_asks(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    hung_up: Callable[..., Awaitable[None]],
    autojump_clock: MockClock,
) -> None:
    """No engine, no block."""
    async with open_fake_runtime(blocks={"b": sleeps(100), "i": ignores_sigterm(100)}, pace=INSTANT) as runtime:
        await born(runtime)
        await hung_up(runtime, block_call("b", "r1"))
        await wait_all_tasks_blocked()
        assert runtime.host.leftovers() == ["container a is running"]
        await hung_up(runtime, block_call("i", "r2"))
        await trio.sleep(0.6)
        assert runtime.host.leftovers() == ["container a is running"]


async def test_ending_an_unknown_run_is_done_at_once(
    born: Callable[..., Awaitable[None]], took: Callable[[], float], autojump_clock: MockClock
) -> None:
    async with open_fake_runtime() as runtime:
        await born(runtime)
        took()
        await runtime.agent("a").end("never")
        assert took() == PACE.agent


async def test_a_block_that_is_killed_before_its_first_step_never_runs(
    born: Callable[..., Awaitable[None]],
    block_call: Callable[..., BlockCall],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    ran: list[FakeCall] = []
    async with open_fake_runtime(blocks={"b": ran.append}, pace=INSTANT) as runtime:
        await born(runtime)
        run = runtime.host.begin(runtime.host.box("a"), block_call())
        run.kill()
        await run.done.wait()
        assert run.exit == Exit(signal=9, error="it was killed by SIGKILL", fault="signal")
        assert ran == []


async def test_nothing_survives_sigkill_by_ignoring_sigterm_afterwards(
    born: Callable[..., Awaitable[None]],
    block_call: Callable[..., BlockCall],
    hung_up: Callable[..., Awaitable[None]],
    autojump_clock: MockClock,
) -> None:
    async def stubborn(call: FakeCall) -> None:
        for _ in range(3):
            with call.ignore_sigterm():
                await trio.sleep(100)

    async with open_fake_runtime(blocks={"b": stubborn}, pace=INSTANT) as runtime:
        await born(runtime)
        await hung_up(runtime, block_call())
        await runtime.agent("a").end("r1")
        assert runtime.host.running_blocks() == []
        assert trio.current_time() == 1.5


async def test_removal_kills_what_ignores_sigterm_and_waits_for_it(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    took: Callable[[], float],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    async with open_fake_runtime(blocks={"b": ignores_sigterm(100)}) as runtime:
        await born(runtime)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def runner() -> None:
                with pytest.raises(ContainerLostError):
                    await runtime.agent("a").run(block_call(), unheard)

            await trio.sleep(1)
            took()
            await runtime.remove("a")
            assert took() == PACE.remove
            assert runtime.host.running_blocks() == []


async def test_a_frozen_container_accepts_and_says_nothing(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    took: Callable[[], float],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    async with open_fake_runtime() as runtime:
        await born(runtime)
        await runtime.pause("a")
        agent = runtime.agent("a")
        for ask in (agent.health, lambda: agent.run(block_call(), unheard), lambda: agent.end("r0")):
            with trio.move_on_after(10) as scope:
                await ask()
            assert scope.cancelled_caught
        assert runtime.host.running_blocks() == []

        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.health)
            await wait_all_tasks_blocked()
            took()
            await runtime.unpause("a")
            await wait_all_tasks_blocked()
            assert took() == PACE.unpause
            assert nursery.child_tasks == frozenset()


async def test_a_block_in_a_container_that_somebody_freezes_is_heard_of_when_it_thaws(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    autojump_clock: MockClock,
) -> None:
    heard: list[str] = []
    async with open_fake_runtime(blocks={"b": prints(["x", "y"], output=1, every=2)}, pace=INSTANT) as runtime:
        await born(runtime)
        exits: list[Exit] = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def runner() -> None:
                exits.append(await runtime.agent("a").run(block_call(), lambda line: heard.append(line.text)))

            await trio.sleep(1)
            runtime.host.freeze("a")
            await trio.sleep(10)
            assert (heard, exits) == (["x"], [])
            runtime.host.thaw("a")
            await wait_all_tasks_blocked()
            assert (heard, exits) == (["x", "y"], [Exit(code=0, output=1)])


async def test_a_silent_agent_hangs_until_its_container_dies(
    born: Callable[..., Awaitable[None]], autojump_clock: MockClock
) -> None:
    async with open_fake_runtime() as runtime:
        await born(runtime)
        runtime.host.silence("a")
        assert await runtime.alive("a")
        with trio.move_on_after(10) as scope:
            await runtime.agent("a").health()
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def runner() -> None:
                with pytest.raises(ContainerLostError):
                    await runtime.agent("a").health()

            await wait_all_tasks_blocked()
            runtime.host.kill("a")
