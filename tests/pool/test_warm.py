"""Pre-warming: how many, how early, below which cap, and what becomes of those that nobody needed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from warmlane.errors import NoFreePortError
from warmlane.plan.model import Container
from warmlane.runtimes.fake_box import Pace
from warmlane.runtimes.fake_faults import hangs

if TYPE_CHECKING:
    from tests.pool.conftest import Stage

Open = Callable[..., "AbstractAsyncContextManager[Stage]"]


def image(name: str = "img") -> Container:
    return Container(image=name, transport="tcp")


async def test_warming_begins_at_once_and_stops_at_the_number(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        it.pool.warm([(image(), 3), (image("other"), 2)], execution_id="e", dormancy_timeout=300)
        assert list(it.phases().values()) == ["starting"] * 5
        await it.until(lambda: set(it.phases().values()) == {"idle"})
        await trio.sleep(1000)
        assert list(it.phases().values()) == ["idle"] * 5
        assert len(it.host.asked("create")) == 5


async def test_warming_respects_the_cap(autojump_clock: MockClock, stage: Open) -> None:
    async with stage(2) as it:
        it.pool.warm([(image(), 50)], execution_id="e", dormancy_timeout=300)
        assert len(it.phases()) == 2


async def test_warming_counts_what_is_there(autojump_clock: MockClock, stage: Open) -> None:
    """Running and dormant ones count; nothing is woken ahead of need."""
    async with stage() as it:
        lease = await it.acquire()
        other = await it.acquire()
        it.pool.release(other)
        await it.until_phase(other.name, "dormant")
        it.pool.warm([(image(), 3)], execution_id="e", dormancy_timeout=300)
        assert sorted(it.phases().values()) == ["dormant", "running", "starting"]
        assert it.phase(lease.name) == "running"


async def test_two_executions_want_the_sum(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        first = it.pool.warm([(image(), 2)], execution_id="e1", dormancy_timeout=300)
        it.pool.warm([(image(), 3)], execution_id="e2", dormancy_timeout=300)
        assert len(it.phases()) == 5
        it.pool.cool_down(first)
        assert len(it.phases()) == 5


async def test_what_nobody_needed_is_paused_when_the_execution_ends(autojump_clock: MockClock, stage: Open) -> None:
    """Also what was still being born then."""
    async with stage(pace=Pace(create=1)) as it:
        order = it.pool.warm([(image(), 2)], execution_id="e", dormancy_timeout=7)
        await it.until(lambda: list(it.phases().values()) == ["idle", "idle"])
        it.pool.cool_down(order)
        await it.until(lambda: list(it.phases().values()) == ["dormant", "dormant"])
        order = it.pool.warm([(image("late"), 1)], execution_id="e", dormancy_timeout=7)
        it.pool.cool_down(order)
        await it.until(lambda: list(it.phases().values()) == ["dormant"] * 3)
        await trio.sleep(8)
        assert it.phases() == {}


async def test_warmed_containers_are_handed_out_without_waiting(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        it.pool.warm([(image(), 3)], execution_id="e", dormancy_timeout=300)
        await it.until(lambda: list(it.phases().values()) == ["idle"] * 3)
        began = trio.current_time()
        leases = [await it.acquire(str(number)) for number in range(3)]
        assert trio.current_time() == began
        assert [lease.start.cause for lease in leases] == ["hit"] * 3
        assert it.pool.status().stats.ready_share == 1.0


async def test_warming_that_never_gets_healthy_is_tried_once_more(autojump_clock: MockClock, stage: Open) -> None:
    """A container not healthy in 30 s is terminated and replaced, though nobody waits for it yet."""
    async with stage() as it:
        it.host.orders.order(hangs(), "health", name="warmlane-s-1", times=1000)
        it.pool.warm([(image(), 1)], execution_id="e", dormancy_timeout=300)
        await it.until(lambda: list(it.phases().values()) == ["idle"])
        assert it.path("warmlane-s-1") == ["starting", "stopping", "terminated"]
        assert 30 < trio.current_time() < 32


async def test_warming_does_not_go_on_for_ever_with_what_cannot_live(autojump_clock: MockClock, stage: Open) -> None:
    async with stage(images={"img": "sick", "bare": "no-python", "nowhere": "missing"}) as it:
        wanted = [(image(), 2), (image("bare"), 1), (image("nowhere"), 1), (image("fine"), 1)]
        order = it.pool.warm(wanted, execution_id="e", dormancy_timeout=300)
        await trio.sleep(500)
        assert list(it.phases().values()) == ["idle"]
        assert len(it.host.asked("create")) == 2 + 1 + 1 + 1
        it.pool.cool_down(order)


async def test_warm_container_that_dies_is_replaced(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        it.pool.warm([(image(), 1)], execution_id="e", dormancy_timeout=300)
        await it.until(lambda: list(it.phases().values()) == ["idle"])
        it.host.kill("warmlane-s-1")
        await it.until(lambda: it.phases() == {"warmlane-s-2": "idle"})


# Ports


async def test_ports_are_unique_and_in_the_range(autojump_clock: MockClock, stage: Open) -> None:
    async with stage(ports=range(23410, 23420)) as it:
        it.pool.warm([(image(), 10)], execution_id="e", dormancy_timeout=300)
        ports = [record.port for record in it.pool.status().containers]
        assert sorted(port or 0 for port in ports) == list(range(23410, 23420))
        await it.until(lambda: set(it.phases().values()) == {"idle"})


async def test_foreign_ports_are_skipped(autojump_clock: MockClock, stage: Open) -> None:
    """The host finds out only on starting: the container moves on to the next, and takes no other's."""
    async with stage(ports=range(23410, 23414)) as it:
        it.host.taken_ports |= {23410, 23411}
        leases = [await it.acquire(), await it.acquire()]
        ports = {record.name: record.port for record in it.pool.status().containers}
        assert set(ports.values()) == {23412, 23413}
        assert set(ports) == {lease.name for lease in leases}
        for lease in leases:
            assert it.path(lease.name) == ["starting", "idle", "running"]
            assert it.host.boxes[lease.name].birth.port == ports[lease.name]


async def test_every_port_taken_by_others_is_an_error(autojump_clock: MockClock, stage: Open) -> None:
    """And no endless search, although a probe from here says that they are free."""
    async with stage(ports=range(23410, 23413)) as it:
        it.host.taken_ports |= set(range(23410, 23413))
        with pytest.raises(NoFreePortError, match=r"no port is free in 23410-23412 on 127\.0\.0\.1 \(0 of them"):
            await it.acquire()
        it.host.taken_ports.clear()
        await it.acquire()


async def test_out_of_ports_of_our_own_means_waiting(autojump_clock: MockClock, stage: Open) -> None:
    async with stage(ports=range(23410, 23411)) as it, trio.open_nursery() as nursery:
        lease = await it.acquire("first")
        got: list[float] = []

        async def take() -> None:
            await it.acquire("second", of="other")
            got.append(trio.current_time())

        nursery.start_soon(take)
        await trio.sleep(100)
        assert got == []
        it.pool.release(lease)
        await it.until(lambda: bool(got))
        assert it.phase(lease.name) is None


async def test_no_port_at_all_tells_everybody(autojump_clock: MockClock, stage: Open) -> None:
    """A thousand in line are told, one after the other."""
    told: list[int] = []
    async with stage(1000, ports=range(0)) as it, trio.open_nursery() as nursery:

        async def take(number: int) -> None:
            with pytest.raises(NoFreePortError):
                await it.acquire(str(number))
            told.append(number)

        for number in range(1000):
            nursery.start_soon(take, number)
    assert len(told) == 1000
