"""What every runtime promises: the same cases for the fake, local processes and Docker."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from warmlane.agent.protocol import Exit, LogLine
from warmlane.bus import Bus
from warmlane.errors import ContainerFaultError, ContainerLostError, PortTakenError, RuntimeRefusedError
from warmlane.plan.model import Workspace
from warmlane.pool import lookout, open_pool
from warmlane.runtimes.owner import owner_label
from warmlane.runtimes.protocol import Sighting
from warmlane.runtimes.sweep import sweep
from warmlane.settings import Settings

# Life and death.


async def test_a_container_is_created_started_and_removed(place: Any) -> None:
    runtime, birth = place.runtime, place.birth()
    assert runtime.vet(birth.container) is None
    await runtime.prepare(birth.container, lambda _progress: None)
    await runtime.create(birth)
    try:
        assert (await place.found(birth.name)).state == "created"
        assert not await runtime.alive(birth.name)
        assert await runtime.diagnose(birth.name) == "it was never started"
        await runtime.start(birth.name)
        await place.healthy(birth.name)
        assert await runtime.alive(birth.name)
        assert await runtime.diagnose(birth.name) == "it runs"
        assert (await place.found(birth.name)).state == "running"
    finally:
        await runtime.remove(birth.name)
    assert await place.found(birth.name) is None
    assert not await runtime.alive(birth.name)
    assert await runtime.diagnose(birth.name) == "it does not exist any more"


async def test_owned_names_the_session_and_the_owner(place: Any) -> None:
    async with place.born(owner="somebody.else") as name:
        found = await place.found(name)
        assert (found.session_id, found.owner) == (place.session_id, "somebody.else")


async def test_a_name_is_taken_once(place: Any) -> None:
    async with place.born() as name:
        with pytest.raises(RuntimeRefusedError):
            await place.runtime.create(place.birth(name=name))
        await place.healthy(name)


async def test_a_name_can_be_used_again_when_it_is_gone(place: Any) -> None:
    birth = place.birth()
    for _ in range(2):
        async with place.born(name=birth.name, port=birth.port):
            assert await place.runtime.alive(birth.name)
        assert not await place.runtime.alive(birth.name)


async def test_a_container_that_dies_is_not_alive_and_says_why(place: Any) -> None:
    async with place.born() as name:
        await place.die(name)
        assert "killed" in await place.runtime.diagnose(name)
        assert (await place.found(name)).state == "dead"
        with pytest.raises(ContainerLostError), trio.fail_after(5):
            await place.runtime.agent(name).health()


async def test_a_workspace_that_does_not_exist_is_refused_and_not_made(place: Any, tmp_path: Path) -> None:
    if place.kind == "fake":
        pytest.skip("a simulated host has no folders")
    missing = tmp_path / "missing"
    birth = place.birth(container=place.container(workspace=Workspace(path=str(missing))))
    try:
        with pytest.raises(ContainerFaultError, match=f"does not exist: {missing}"):
            await place.runtime.create(birth)
    finally:
        await place.runtime.remove(birth.name)
    assert not missing.exists()
    assert await place.found(birth.name) is None


# Freezing.


async def test_a_frozen_container_says_nothing_and_counts_as_alive(place: Any) -> None:
    async with place.born() as name:
        await place.runtime.pause(name)
        assert (await place.found(name)).state == "paused"
        assert await place.runtime.alive(name)
        assert await place.runtime.diagnose(name) == "it runs"
        with trio.move_on_after(0.2) as silence:
            await place.runtime.agent(name).health()
        assert silence.cancelled_caught
        await place.runtime.unpause(name)
        await place.healthy(name)
        assert (await place.found(name)).state == "running"


async def test_freezing_and_thawing_twice_is_success(place: Any) -> None:
    async with place.born() as name:
        await place.runtime.unpause(name)
        await place.runtime.pause(name)
        await place.runtime.pause(name)
        await place.runtime.unpause(name)
        await place.runtime.unpause(name)
        await place.healthy(name)


async def test_freezing_and_thawing_without_a_gap_always_ends_as_asked(place: Any) -> None:
    async with place.born() as name:
        for _ in range(10):
            await place.runtime.pause(name)
            await place.runtime.unpause(name)
        await place.healthy(name)


async def test_a_dead_container_cannot_be_frozen(place: Any) -> None:
    async with place.born() as name:
        await place.die(name)
        with pytest.raises((ContainerLostError, RuntimeRefusedError)):
            await place.runtime.pause(name)


async def test_thawing_does_not_raise_the_dead(place: Any) -> None:
    """Whether it is said to be lost, or to be not frozen, is left open."""
    async with place.born() as name:
        await place.die(name)
        with suppress(ContainerLostError, RuntimeRefusedError):
            await place.runtime.unpause(name)
        assert not await place.runtime.alive(name)


# Removing.


async def as_created(place: Any, birth: Any) -> None:
    await place.runtime.prepare(birth.container, lambda _progress: None)
    await place.runtime.create(birth)


async def as_started(place: Any, birth: Any) -> None:
    await as_created(place, birth)
    await place.runtime.start(birth.name)


async def as_frozen(place: Any, birth: Any) -> None:
    await as_started(place, birth)
    await place.healthy(birth.name)
    await place.runtime.pause(birth.name)


async def as_dead(place: Any, birth: Any) -> None:
    await as_started(place, birth)
    await place.healthy(birth.name)
    await place.kill(birth.name)


@pytest.mark.parametrize("bring_to", [as_created, as_started, as_frozen, as_dead])
async def test_it_is_removed_from_every_state(place: Any, bring_to: Callable[[Any, Any], Awaitable[None]]) -> None:
    birth = place.birth()
    try:
        await bring_to(place, birth)
    finally:
        with trio.fail_after(20):
            await place.runtime.remove(birth.name)
    assert await place.found(birth.name) is None
    await place.runtime.remove(birth.name)


async def test_removing_at_the_same_time_is_success_for_all(place: Any) -> None:
    async with place.born() as name:

        async def remove() -> None:
            await place.runtime.remove(name)
            assert await place.found(name) is None

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(remove)


async def test_a_removed_container_takes_its_running_block_along(place: Any) -> None:
    """However stubborn; and who waits for the block is told that the container is lost."""
    async with place.born() as name:
        sleeping = trio.Event()

        async def run() -> None:
            with pytest.raises(ContainerLostError):
                await place.block(name, "stubborn", on_log=lambda _line: sleeping.set())

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                await sleeping.wait()
                await place.runtime.remove(name)


# Names that nobody has.


@pytest.mark.parametrize("call", ["start", "pause", "unpause", "log_tail"])
async def test_a_call_for_an_unknown_name_is_lost(place: Any, call: str) -> None:
    with pytest.raises(ContainerLostError):
        await getattr(place.runtime, call)("wl-nobody")


async def test_asking_about_an_unknown_name_is_no_error(place: Any) -> None:
    assert not await place.runtime.alive("wl-nobody")
    assert await place.runtime.diagnose("wl-nobody") == "it does not exist any more"
    await place.runtime.remove("wl-nobody")


# Watching.


async def test_what_happens_is_seen_in_its_order(place: Any) -> None:
    seen: list[str] = []
    with trio.fail_after(30):
        async with place.runtime.watch() as sightings, place.born() as name:
            await place.runtime.pause(name)
            await place.runtime.unpause(name)
            await place.runtime.remove(name)
            async for sighting in sightings:
                if sighting.name == name:
                    seen.append(sighting.kind)
                if sighting.kind == "removed":
                    break
    assert seen in (["paused", "unpaused", "died", "removed"], ["paused", "unpaused", "removed"]), (
        "a death may come late"
    )


async def test_a_death_is_seen(place: Any) -> None:
    with trio.fail_after(30):
        async with place.runtime.watch() as sightings, place.born() as name:
            await place.kill(name)
            async for sighting in sightings:
                if (sighting.kind, sighting.name) == ("died", name):
                    break


async def test_a_pool_that_hears_of_nothing_notices_it_all_the_same(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`watch` may lose sightings without a word; `owned` tells the truth, whoever asks."""

    @asynccontextmanager
    async def deaf(_runtime: object) -> AsyncGenerator[AsyncIterator[Sighting]]:
        send, receive = trio.open_memory_channel[Sighting](0)
        with send, receive:
            yield receive

    monkeypatch.setattr(type(place.runtime), "watch", deaf)
    monkeypatch.setattr(lookout, "PERIOD", 0.2)
    bus = Bus()
    with trio.fail_after(60), bus.feed() as feed:
        async with open_pool(place.runtime, bus, Settings(), session_id=place.session_id, owner=owner_label()) as pool:
            lease = await pool.acquire(place.container(), block_id="b", execution_id="e", dormancy_timeout=300)
            await place.kill(lease.name)
            while pool.status().containers:
                await feed.receive()
            pool.release(lease)


# Ports.


async def test_a_port_that_somebody_holds_is_said_and_another_one_will_do(place: Any) -> None:
    if place.transport != "tcp":
        pytest.skip("needs no port")
    birth = place.birth()
    assert place.runtime.port_is_free(birth.port)
    place.take_port(birth.port)
    assert place.kind == "fake" or not place.runtime.port_is_free(birth.port)
    try:
        await place.runtime.prepare(birth.container, lambda _progress: None)
        with pytest.raises(PortTakenError) as caught:
            await bring_up(place, birth)
        assert caught.value.port == birth.port
    finally:
        await place.runtime.remove(birth.name)
    async with place.born(name=birth.name) as name:
        await place.healthy(name)


async def bring_up(place: Any, birth: Any) -> None:
    await place.runtime.create(birth)
    await place.runtime.start(birth.name)


# Blocks.


async def test_a_block_runs_to_its_end_with_its_log(place: Any) -> None:
    lines: list[LogLine] = []
    async with place.born() as name:
        ended = await place.block(name, "hello", on_log=lines.append)
    assert ended == Exit(code=0, output={"n": 1})
    assert lines == [LogLine(stream="stdout", text="hello"), LogLine(stream="stdout", text="world")]


async def test_a_block_gets_its_input(place: Any) -> None:
    value = {"text": "ü\n", "list": [1, 2.5, None, True], "deep": {"a": {"b": []}}}
    async with place.born() as name:
        assert (await place.block(name, "echo", value=value)).output == value


async def test_a_failing_block_says_how(place: Any) -> None:
    async with place.born() as name:
        ended = await place.block(name, "fails")
    assert (ended.code, ended.fault) == (3, "error")
    assert ended.error


async def test_a_block_runs_after_a_sleep_of_its_container(place: Any) -> None:
    async with place.born() as name:
        for _ in range(3):
            await place.runtime.pause(name)
            await place.runtime.unpause(name)
            await place.healthy(name)
            assert (await place.block(name, "hello")).code == 0


@pytest.mark.parametrize("block_id", ["sleeps", "stubborn"])
async def test_a_block_that_is_ended_is_gone(place: Any, block_id: str) -> None:
    async with place.born() as name:
        exits: list[Exit] = []
        sleeping = trio.Event()

        async def run() -> None:
            exits.append(await place.block(name, block_id, run="doomed", on_log=lambda _line: sleeping.set()))

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                await sleeping.wait()
                await place.runtime.agent(name).end("doomed")
        assert exits[0].signal in (9, 15)
        assert (await place.block(name, "hello")).code == 0


async def test_ending_an_unknown_run_is_success(place: Any) -> None:
    async with place.born() as name:
        with trio.fail_after(5):
            await place.runtime.agent(name).end("run-nobody")


async def test_hanging_up_ends_the_block(place: Any) -> None:
    async with place.born() as name:
        with trio.fail_after(20), trio.CancelScope() as scope:
            await place.block(name, "sleeps", run="doomed", on_log=lambda _line: scope.cancel())
        assert scope.cancelled_caught
        with trio.fail_after(10):
            await place.runtime.agent(name).end("doomed")
        assert (await place.block(name, "hello")).code == 0


# Cancellation and concurrency.


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.01, 0.05, 0.2, 0.5])
async def test_a_life_that_is_cancelled_at_any_moment_leaves_nothing(place: Any, seconds: float) -> None:
    birth = place.birth()
    with trio.move_on_after(seconds):
        try:
            await as_frozen(place, birth)
            await place.runtime.unpause(birth.name)
            await place.healthy(birth.name)
            await trio.sleep_forever()
        finally:
            with trio.fail_after(20) as grace:
                grace.shield = True
                await place.runtime.remove(birth.name)
    assert await place.found(birth.name) is None
    assert await place.runtime.diagnose(birth.name) == "it does not exist any more"


@pytest.mark.parametrize("call", ["pause", "unpause", "remove", "alive", "diagnose", "log_tail"])
async def test_a_call_that_was_cancelled_can_be_repeated(place: Any, call: str) -> None:
    async with place.born() as name:
        for seconds in (0.0, 0.0005, 0.002, 0.005):
            with trio.move_on_after(seconds):
                await getattr(place.runtime, call)(name)
        if call == "log_tail" or call == "diagnose":
            assert isinstance(await getattr(place.runtime, call)(name), str)
        elif call == "remove":
            await place.runtime.remove(name)
            assert await place.found(name) is None
        elif call == "alive":
            assert await place.runtime.alive(name)
        else:
            await getattr(place.runtime, call)(name)
            assert (await place.found(name)).state == ("paused" if call == "pause" else "running")


async def test_four_lives_side_by_side(place: Any) -> None:
    ended: list[Exit] = []

    async def live() -> None:
        async with place.born() as name:
            await place.runtime.pause(name)
            await place.runtime.unpause(name)
            await place.healthy(name)
            ended.append(await place.block(name, "hello"))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(live)
    assert [exit_.output for exit_ in ended] == [{"n": 1}] * 4


# Sweeping.


async def test_a_sweep_removes_what_the_dead_have_left_and_nothing_of_the_living(place: Any) -> None:
    print_label = "from warmlane.runtimes.owner import owner_label; print(owner_label())"
    ended = await trio.run_process([sys.executable, "-c", print_label], capture_stdout=True)
    dead = ended.stdout.decode().strip()
    async with place.born(owner=dead) as orphan, place.born() as ours, place.born(owner="who.knows") as strange:
        await place.runtime.pause(orphan)
        swept = await sweep(place.runtime)
        assert orphan in swept.removed
        assert swept.failed == ()
        assert {ours, strange} <= set(swept.kept)
        assert await place.found(orphan) is None
        await place.healthy(ours)
        await place.healthy(strange)
