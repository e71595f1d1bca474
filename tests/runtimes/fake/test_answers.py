"""Where the simulated host answers as Docker does: names, states, ports, images; and what it calls a violation."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from warmlane.agent.protocol import BlockCall, LogLine, Response
from warmlane.errors import (
    ContainerFaultError,
    ContainerLostError,
    PortTakenError,
    RuntimeRefusedError,
)
from warmlane.events import PullProgress
from warmlane.plan.model import Container
from warmlane.runtimes.fake import FakeRuntime, open_fake_runtime
from warmlane.runtimes.fake_blocks import FakeRequest, ignores_sigterm, sleeps
from warmlane.runtimes.fake_box import ImageKind, Pace
from warmlane.runtimes.fake_faults import lies
from warmlane.runtimes.fake_host import FakeHost, open_fake_host
from warmlane.runtimes.protocol import Birth, Found, Sighting

PACE = Pace()


async def test_a_name_can_be_used_once(birth: Callable[..., Birth], autojump_clock: MockClock) -> None:
    async with open_fake_runtime() as runtime:
        await runtime.create(birth())
        with pytest.raises(RuntimeRefusedError) as caught:
            await runtime.create(birth())
        assert caught.value.status == 409
        await runtime.remove("a")
        await runtime.create(birth())


async def test_starting_again(born: Callable[..., Awaitable[None]], autojump_clock: MockClock) -> None:
    async with open_fake_runtime() as runtime:
        await born(runtime)
        await runtime.start("a")
        await runtime.agent("a").health()  # it was not restarted
        await runtime.pause("a")
        with pytest.raises(RuntimeRefusedError):
            await runtime.start("a")


async def test_a_container_that_does_not_run_cannot_be_paused(
    born: Callable[..., Awaitable[None]], autojump_clock: MockClock
) -> None:
    async with open_fake_runtime() as runtime:
        await born(runtime)
        runtime.host.kill("a")
        with pytest.raises(RuntimeRefusedError):
            await runtime.pause("a")
        await runtime.unpause("a")
        assert runtime.host.names("dead") == ["a"]


async def test_two_runtimes_see_one_host(birth: Callable[..., Birth], autojump_clock: MockClock) -> None:
    """What a collector needs: containers of other sessions are listed, but not watched."""
    async with open_fake_host() as host:
        ours, theirs = FakeRuntime(host), FakeRuntime(host)
        async with ours.watch() as sightings:
            await ours.create(birth("a"))
            await theirs.create(birth("b", session="s2"))
            await theirs.start("b")
            await theirs.remove("b")
            await theirs.create(birth("c", session="s2"))
            await ours.remove("a")
            assert await anext(sightings) == Sighting(kind="removed", name="a")
        assert await ours.owned() == [Found(name="c", session_id="s2", owner="s2-owner", state="created")]


async def test_a_port_that_another_process_holds(birth: Callable[..., Birth], autojump_clock: MockClock) -> None:
    async with open_fake_runtime() as runtime:
        runtime.host.taken_ports.add(9100)
        await runtime.create(birth(port=9100))
        with pytest.raises(PortTakenError) as caught:
            await runtime.start("a")
        assert caught.value.port == 9100
        assert runtime.host.names("created") == ["a"]


async def test_another_sessions_port_is_only_taken(birth: Callable[..., Birth], autojump_clock: MockClock) -> None:
    async with open_fake_host() as host:
        ours, theirs = FakeRuntime(host), FakeRuntime(host)
        await ours.create(birth("a", port=9100))
        await ours.start("a")
        await theirs.create(birth("b", port=9100, session="s2"))
        with pytest.raises(PortTakenError):
            await theirs.start("b")


async def violations(use: Callable[[FakeRuntime], Any], **host: Any) -> str:
    """What the fake says in the end of such a use."""
    with pytest.raises(AssertionError) as caught:
        async with open_fake_runtime(**host) as runtime:
            await use(runtime)
    return str(caught.value)


async def test_giving_a_port_twice_is_a_violation(birth: Callable[..., Birth], autojump_clock: MockClock) -> None:
    async def use(runtime: FakeRuntime) -> None:
        for name in ("a", "b"):
            await runtime.create(birth(name, port=9100))
        await runtime.start("a")
        with pytest.raises(PortTakenError):
            await runtime.start("b")

    assert "port 9100 was given to b while a had it" in await violations(use)


async def test_the_port_of_a_container_that_was_said_to_be_gone_is_nobodys_fault(
    birth: Callable[..., Birth], autojump_clock: MockClock
) -> None:
    async with open_fake_runtime() as runtime:
        await runtime.create(birth("a", port=9100))
        await runtime.start("a")
        runtime.host.orders.order(lies(), "remove")
        await runtime.remove("a")
        await runtime.create(birth("b", port=9100))
        with pytest.raises(PortTakenError):
            await runtime.start("b")


async def test_two_blocks_at_once_are_a_violation_unless_allowed(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    async def use(runtime: FakeRuntime) -> None:
        await born(runtime)
        async with trio.open_nursery() as nursery:
            for run in ("r1", "r2"):
                nursery.start_soon(runtime.agent("a").run, block_call("b", run), unheard)

    blocks = {"b": sleeps(1)}
    assert "block b was started in a beside b" in await violations(use, blocks=blocks)
    async with open_fake_runtime(blocks=blocks, blocks_at_once=2) as runtime:
        await use(runtime)


async def test_blocks_of_two_executions_may_never_meet(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    async def use(runtime: FakeRuntime) -> None:
        await born(runtime)
        async with trio.open_nursery() as nursery:
            for run in ("r1", "r2"):
                nursery.start_soon(runtime.agent("a").run, block_call("b", run, execution=f"e-{run}"), unheard)

    said = await violations(use, blocks={"b": sleeps(1)}, blocks_at_once=None)
    assert "blocks of two executions met in a" in said


async def test_a_block_that_is_still_ending_counts_as_running(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    hung_up: Callable[..., Awaitable[None]],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    async def use(runtime: FakeRuntime) -> None:
        await born(runtime)
        await hung_up(runtime, block_call("i", "r1"))
        await runtime.agent("a").run(block_call("b", "r2"), unheard)

    assert "block b was started in a beside i" in await violations(use, blocks={"i": ignores_sigterm(100)})


async def test_pausing_a_container_with_a_block_in_it_is_a_violation(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    async def use(runtime: FakeRuntime) -> None:
        await born(runtime)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.agent("a").run, block_call(), unheard)
            await trio.sleep(0.6)
            await runtime.pause("a")
            nursery.cancel_scope.cancel()

    assert "a was paused while a block ran in it" in await violations(use, blocks={"b": sleeps(1)})


async def test_starting_a_run_twice_is_a_violation(
    block_call: Callable[..., BlockCall],
    born: Callable[..., Awaitable[None]],
    unheard: Callable[[LogLine], None],
    autojump_clock: MockClock,
) -> None:
    async def use(runtime: FakeRuntime) -> None:
        await born(runtime)
        for _ in range(2):
            await runtime.agent("a").run(block_call(), unheard)

    assert "the run r1 was started twice" in await violations(use)


async def test_an_exception_of_the_body_goes_before_violations(autojump_clock: MockClock) -> None:
    def use(host: FakeHost) -> None:
        host.violations.append("something")
        raise LookupError

    with pytest.raises(LookupError):
        async with open_fake_host() as host:
            use(host)


async def test_a_remote_image_is_pulled_once_however_many_ask(
    took: Callable[[], float], autojump_clock: MockClock
) -> None:
    images: dict[str, ImageKind] = {"big": "remote"}
    heard: dict[int, list[PullProgress]] = {0: [], 1: []}
    async with open_fake_runtime(images=images) as runtime:
        took()
        async with trio.open_nursery() as nursery:
            for progress in heard.values():
                nursery.start_soon(runtime.prepare, Container(image="big"), progress.append)
        assert took() == PACE.look + PACE.pull
        assert heard[0] == heard[1]
        assert [(p.status, p.current, p.total) for p in heard[0]] == [
            ("Downloading", 0, 40_000_000),
            ("Downloading", 10_000_000, 40_000_000),
            ("Downloading", 20_000_000, 40_000_000),
            ("Downloading", 30_000_000, 40_000_000),
            ("Pull complete", 40_000_000, 40_000_000),
        ]
        took()
        await runtime.prepare(Container(image="big"), heard[0].append)
        assert took() == PACE.look
        assert len(heard[0]) == 5


async def test_a_pull_outlives_one_who_gives_up_but_not_the_last(
    took: Callable[[], float], autojump_clock: MockClock
) -> None:
    images: dict[str, ImageKind] = {"big": "remote"}
    async with open_fake_runtime(images=images) as runtime:
        container = Container(image="big")
        with trio.move_on_after(1):
            await runtime.prepare(container, lambda _: None)
        await trio.sleep(10)
        assert runtime.host.images == {"big": "remote"}

        took()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.prepare, container, lambda _: None)
            with trio.move_on_after(1):
                await runtime.prepare(container, lambda _: None)
        assert took() == PACE.look + PACE.pull
        assert runtime.host.images == {"big": "here"}


async def test_a_missing_image_is_refused_with_the_hosts_words(autojump_clock: MockClock) -> None:
    async with open_fake_runtime(images={"nope": "missing"}) as runtime:
        for _ in range(2):
            with pytest.raises(ContainerFaultError, match="pull access denied for nope"):
                await runtime.prepare(Container(image="nope"), lambda _: None)
        await runtime.prepare(Container(image="other"), lambda _: None)


async def test_an_image_without_python_starts_and_dies(birth: Callable[..., Birth], autojump_clock: MockClock) -> None:
    async with open_fake_runtime(images={"busybox": "no-python"}) as runtime:
        async with runtime.watch() as sightings:
            await runtime.create(birth(image="busybox"))
            await runtime.start("a")
            assert await anext(sightings) == Sighting(kind="died", name="a")
        assert not await runtime.alive("a")
        assert await runtime.diagnose("a") == "its image has no python3, which the agent needs; take one that has it"
        assert "python3" in await runtime.log_tail("a")
        with pytest.raises(ContainerLostError):
            await runtime.agent("a").health()


async def test_a_sick_image_is_never_healthy(birth: Callable[..., Birth], autojump_clock: MockClock) -> None:
    async with open_fake_runtime(images={"bad": "sick"}) as runtime:
        await runtime.create(birth(image="bad"))
        await runtime.start("a")
        await trio.sleep(3600)
        assert await runtime.alive("a")
        with pytest.raises(ContainerLostError):
            await runtime.agent("a").health()


async def test_requests_go_to_the_service(born: Callable[..., Awaitable[None]], autojump_clock: MockClock) -> None:
    async def service(request: FakeRequest) -> Response:
        await trio.sleep(1)
        return Response(status=201, headers={}, body=[request.container, request.method, request.path, request.body])

    async with open_fake_runtime(service=service) as runtime:
        await born(runtime)
        response = await runtime.agent("a").request("POST", "/x", {}, {"n": 1})
        assert (response.status, response.body) == (201, ["a", "POST", "/x", {"n": 1}])
    async with open_fake_runtime() as runtime:
        await born(runtime)
        assert (await runtime.agent("a").request("GET", "/", {}, None)).status == 200
