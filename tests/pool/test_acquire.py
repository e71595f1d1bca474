"""Who gets which container, when, and what they are told about it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from warmlane.errors import ContainerFaultError, NeverHealthyError, RuntimeRefusedError, SessionClosedError
from warmlane.life.policy import PASSED_AT_MOST
from warmlane.plan.model import Container
from warmlane.pool import Lease
from warmlane.runtimes.fake_box import INSTANT, Pace
from warmlane.runtimes.fake_faults import fails_before, hangs, refused, slow

if TYPE_CHECKING:
    from tests.pool.conftest import Stage


def image(name: str = "img") -> Container:
    return Container(image=name, transport="tcp")


Open = Callable[..., "AbstractAsyncContextManager[Stage]"]


async def use(stage: Stage, block: str, seconds: float, order: list[str] | None = None, *, of: str = "img") -> Lease:
    """Holds a container for so long."""
    lease = await stage.acquire(block, of=of)
    if order is not None:
        order.append(block)
    await trio.sleep(seconds)
    stage.pool.release(lease)
    return lease


async def dormant(stage: Stage, *, of: str = "img", dormancy: float = 300.0) -> str:
    """The name of a container that has just fallen asleep."""
    lease = await stage.acquire("before", of=of, dormancy=dormancy)
    stage.pool.release(lease)
    await stage.until_phase(lease.name, "dormant")
    return lease.name


@pytest.mark.parametrize("pace", [Pace(), INSTANT])
async def test_cap_holds_under_concurrent_acquires(autojump_clock: MockClock, stage: Open, pace: Pace) -> None:
    """Five at once on a cap of two: two containers exist, and all five are served in turn."""
    async with stage(2, pace=pace) as it:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(use, it, f"b{number}", 1.0)
                await wait_all_tasks_blocked()
            assert len(it.pool.status().containers) == 2
            assert it.pool.status().waiting >= 3
        served = [change.block_id for change in it.changes() if change.phase == "running"]
        assert served == [f"b{number}" for number in range(5)]
    assert len(it.host.asked("create")) == 2


async def test_two_acquires_race_for_one_dormant_container(autojump_clock: MockClock, stage: Open) -> None:
    """One of them wakes it, the other gets a new one; nobody loses a container that is in use."""
    leases: list[Lease] = []

    async with stage() as it:
        name = await dormant(it)

        async def take(block: str) -> None:
            leases.append(await it.acquire(block))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, "one")
            nursery.start_soon(take, "two")
        assert len({lease.name for lease in leases}) == 2
        assert [lease.start.cause for lease in leases] == ["wake", "cold"]
        assert leases[0].name == name
        assert len(it.host.asked("unpause")) == 1
        assert it.host.asked("remove") == []


async def test_two_acquires_race_for_one_dormant_container_at_the_cap(autojump_clock: MockClock, stage: Open) -> None:
    """With no place for another, the second gets the same container when the first gives it back."""
    leases: list[Lease] = []
    async with stage(1) as it:
        await dormant(it)

        async def take(block: str) -> None:
            leases.append(await use(it, block, 1.0))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, "one")
            nursery.start_soon(take, "two")
        assert [lease.start.cause for lease in leases] == ["wake", "cooling"]
        assert leases[0].name == leases[1].name


async def test_released_container_goes_straight_to_the_first_in_line(autojump_clock: MockClock, stage: Open) -> None:
    """RUNNING to RUNNING with the new block, no pause between, in the order of arrival."""
    order: list[str] = []
    async with stage(1) as it:
        async with trio.open_nursery() as nursery:
            for block in ("a", "b", "c"):
                nursery.start_soon(use, it, block, 2.0, order)
                await wait_all_tasks_blocked()
        assert order == ["a", "b", "c"]
        assert it.host.asked("pause") == []
        handed = [change for change in it.changes() if change.block_id is not None]
        assert [change.block_id for change in handed] == ["a", "b", "c"]
        assert {(change.from_state, change.to_state) for change in handed[1:]} == {("running", "running")}


async def test_start_causes_and_their_times(autojump_clock: MockClock, stage: Open) -> None:
    """cold, cooling, wake and hit, each with the time that it took and none that it did not."""
    pace = Pace(look=0, create=1, start=2, boot=0.5, unpause=0.25, agent=0)
    async with stage(pace=pace) as it:
        cold = (await it.acquire()).start
        assert cold.cause == "cold"
        assert cold.start == pytest.approx(3.5, abs=0.3)
        assert cold.queued == pytest.approx(0, abs=0.01)
        status = it.pool.status()
        assert (status.stats.cold, status.stats.ready_share) == (1, 0.0)

        lease = await it.acquire()
        it.pool.release(lease)
        await trio.sleep(0.2)
        cooling = await it.acquire()
        assert cooling.name == lease.name
        assert (cooling.start.cause, cooling.start.queued, cooling.start.start) == ("cooling", 0.0, 0.0)

        it.pool.release(cooling)
        await it.until_phase(lease.name, "dormant")
        woken = await it.acquire()
        assert (woken.name, woken.start.cause) == (lease.name, "wake")
        assert woken.start.start == pytest.approx(0.25, abs=0.05)

        order = it.pool.warm([(image(), 3)], execution_id="e", dormancy_timeout=9)
        await it.until(lambda: "idle" in it.phases().values())
        hit = await it.acquire()
        assert (hit.start.cause, hit.start.queued, hit.start.start) == ("hit", 0.0, 0.0)
        it.pool.cool_down(order)
        stats = it.pool.status().stats
        assert (stats.hit, stats.cooling, stats.wake, stats.cold) == (1, 1, 1, 2)
        assert stats.ready_share == pytest.approx(0.4)


async def test_time_in_line_is_not_time_of_the_start(autojump_clock: MockClock, stage: Open) -> None:
    """Who waits for another's end and then for a wake has queued for the one, and started for the other."""
    starts: list[Lease] = []
    async with stage(1, pace=Pace(create=1.0, remove=0.5)) as it, trio.open_nursery() as nursery:
        lease = await it.acquire()

        async def take() -> None:
            starts.append(await it.acquire("later", of="other"))

        nursery.start_soon(take)
        await trio.sleep(5)
        it.pool.release(lease)
        await it.until(lambda: bool(starts))
        assert starts[0].start.cause == "cold"
        assert starts[0].start.queued == pytest.approx(5.5, abs=0.2)
        assert starts[0].start.start == pytest.approx(1.11, abs=0.1)


async def test_idle_before_cooling_before_dormant(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        sleeper = await dormant(it)
        order = it.pool.warm([(image(), 3)], execution_id="e", dormancy_timeout=300)
        await it.until(lambda: list(it.phases().values()).count("idle") == 2)
        cooling = await it.acquire()
        other = await it.acquire()
        it.pool.release(cooling)
        idle = await it.acquire()
        assert idle.name == cooling.name, "nothing is idle any more: cooling before dormant"
        assert it.phase(sleeper) == "dormant"
        it.pool.release(other)
        it.pool.release(idle)
        it.pool.cool_down(order)


async def test_longest_dormant_is_woken_first(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        leases = [await it.acquire(str(number)) for number in range(3)]
        for index in (1, 2, 0):
            it.pool.release(leases[index])
            await it.until_phase(leases[index].name, "dormant")
        woken = [(await it.acquire()).name for _ in range(3)]
        assert woken == [leases[1].name, leases[2].name, leases[0].name]


async def test_dormant_container_is_woken_though_a_new_one_is_being_born(
    autojump_clock: MockClock, stage: Open
) -> None:
    """A wake takes milliseconds: nobody waits for a birth while a container of the same kind sleeps."""
    async with stage(pace=Pace(create=10)) as it:
        name = await dormant(it)
        order = it.pool.warm([(image(), 2)], execution_id="e", dormancy_timeout=300)
        await wait_all_tasks_blocked()
        assert sorted(it.phases().values()) == ["dormant", "starting"]
        lease = await it.acquire()
        assert (lease.name, lease.start.cause) == (name, "wake")
        assert lease.start.start < 1
        it.pool.cool_down(order)


async def test_failed_wake_is_terminated_and_falls_back_to_a_new_container(
    autojump_clock: MockClock, stage: Open
) -> None:
    """Health does not come back within 10 s: that container goes, and the block gets another one."""
    async with stage() as it:
        name = await dormant(it)
        it.host.silence(name)
        began = trio.current_time()
        lease = await it.acquire("b")
        assert lease.name != name
        assert lease.start.cause == "cold"
        assert 10 <= trio.current_time() - began < 12
        await it.until_phase(name, None)
        assert it.path(name)[-3:] == ["waking", "stopping", "terminated"]
        assert it.host.names() == [lease.name]


@pytest.mark.parametrize("fault", [hangs(), fails_before(), fails_before(refused)], ids=["hangs", "broken", "refused"])
async def test_unpause_that_fails_falls_back_to_a_new_container(
    autojump_clock: MockClock, stage: Open, fault: object
) -> None:
    async with stage(1) as it:
        name = await dormant(it)
        it.host.orders.order(fault, "unpause")  # type: ignore[arg-type]
        lease = await it.acquire("b")
        assert lease.name != name
        assert it.phase(name) is None


async def test_container_that_dies_while_it_wakes_is_replaced(autojump_clock: MockClock, stage: Open) -> None:
    async with stage(1, pace=Pace(unpause=1)) as it, trio.open_nursery() as nursery:
        name = await dormant(it)
        leases: list[Lease] = []

        async def take() -> None:
            leases.append(await it.acquire("b"))

        nursery.start_soon(take)
        await it.until_phase(name, "waking")
        it.host.kill(name)
        await it.until(lambda: bool(leases))
        assert leases[0].name != name


async def test_never_healthy_is_replaced_once_and_then_an_error(autojump_clock: MockClock, stage: Open) -> None:
    """30 s each; both are gone, and the error says what was waited for."""
    async with stage(images={"img": "sick"}) as it:
        began = trio.current_time()
        with pytest.raises(NeverHealthyError, match="did not answer /health within 30 s"):
            await it.acquire()
        assert 60 <= trio.current_time() - began < 63
        assert len(it.host.asked("create")) == 2
        await it.until(lambda: it.phases() == {})
        (other,) = [await it.acquire(of="fine")]
        assert other.start.cause == "cold"


async def test_never_healthy_once_is_only_slower(autojump_clock: MockClock, stage: Open) -> None:
    async with stage(cap=1) as it:
        it.host.orders.order(hangs(), "health", times=40)
        lease = await it.acquire()
        assert lease.start.cause == "cold"
        assert [path[-1] for path in [it.path(it.changes()[0].name)]] == ["terminated"]


async def test_missing_image_is_that_blocks_error(autojump_clock: MockClock, stage: Open) -> None:
    """With the daemon's words; the pool lives on."""
    async with stage(images={"nowhere": "missing"}) as it:
        with pytest.raises(ContainerFaultError, match="pull access denied for nowhere"):
            await it.acquire(of="nowhere")
        assert (await it.acquire(of="fine")).start.cause == "cold"
        await it.until(lambda: len(it.phases()) == 1)
    assert len(it.host.asked("create")) == 1


async def test_image_without_python_is_said_at_once(autojump_clock: MockClock, stage: Open) -> None:
    async with stage(images={"bare": "no-python"}) as it:
        began = trio.current_time()
        with pytest.raises(ContainerFaultError, match="no python3") as caught:
            await it.acquire(of="bare")
        assert caught.value.log_tail == "exec python3 failed: No such file or directory"
        assert trio.current_time() - began < 2


@pytest.mark.parametrize("kind", ["prepare", "create", "start"])
async def test_birth_refused_twice_is_an_error_and_leaks_neither_slot_nor_port(
    autojump_clock: MockClock, stage: Open, kind: str
) -> None:
    async with stage(1, ports=range(23410, 23411)) as it:
        it.host.orders.order(fails_before(refused), kind, times=2)  # type: ignore[arg-type]
        with pytest.raises(RuntimeRefusedError, match="Internal Server Error"):
            await it.acquire()
        lease = await it.acquire()
        assert lease.start.cause == "cold"


async def test_every_waiter_hears_of_a_missing_image(autojump_clock: MockClock, stage: Open) -> None:
    """More of them than places: none waits for ever."""
    errors: list[str] = []
    async with stage(2, images={"nowhere": "missing"}) as it, trio.open_nursery() as nursery:

        async def take() -> None:
            with pytest.raises(ContainerFaultError) as caught:
                await it.acquire(of="nowhere")
            errors.append(str(caught.value))

        for _ in range(7):
            nursery.start_soon(take)
    assert len(errors) == 7


async def test_several_specifications_share_one_pool(autojump_clock: MockClock, stage: Open) -> None:
    """Only equal ones are interchangeable: image, environment, user, transport."""
    async with stage() as it:
        name = await dormant(it)
        for different in ({"of": "other"}, {"env": {"A": "1"}}, {"user": "app"}, {"transport": "unix"}):
            lease = await it.acquire(**different)
            assert lease.name != name
            assert lease.start.cause == "cold"
        assert it.phase(name) == "dormant"
        assert (await it.acquire(env={})).name == name


async def test_unix_containers_take_no_port(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        await it.acquire(transport="unix")
        assert [record.port for record in it.pool.status().containers] == [None]


async def test_new_one_takes_the_place_of_a_dormant_one_of_another_specification(
    autojump_clock: MockClock, stage: Open
) -> None:
    """At the cap, the longest dormant goes; a running one never does."""
    async with stage(3) as it:
        running = await it.acquire("r")
        older = await it.acquire("1", of="other")
        newer = await it.acquire("2", of="other")
        it.pool.release(older)
        await it.until_phase(older.name, "dormant")
        it.pool.release(newer)
        await it.until_phase(newer.name, "dormant")
        lease = await it.acquire("third", of="third")
        assert it.phases() == {running.name: "running", newer.name: "dormant", lease.name: "running"}


async def test_busy_specification_cannot_keep_another_one_out(autojump_clock: MockClock, stage: Open) -> None:
    """A ticket that was passed often enough gets the next free place."""
    async with stage(1) as it, trio.open_nursery() as nursery:
        served: list[str] = []

        async def greedy() -> None:
            while "patient" not in served:
                served.append("greedy")
                await use(it, "greedy", 1.0)

        async def patient() -> None:
            await it.acquire("patient", of="other")
            served.append("patient")

        nursery.start_soon(greedy)
        nursery.start_soon(greedy)
        await it.until(lambda: "running" in it.phases().values())
        nursery.start_soon(patient)
        await it.until(lambda: "patient" in served)
        it.pool.release(next(iter(it.pool._leases)))
    assert PASSED_AT_MOST <= len(served) <= PASSED_AT_MOST + 6


async def test_acquire_of_a_closed_pool_is_refused(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        pass
    with pytest.raises(SessionClosedError):
        await it.acquire()


async def test_those_in_line_are_told_when_the_pool_closes(autojump_clock: MockClock, stage: Open) -> None:
    refused: list[str] = []

    async with trio.open_nursery() as nursery, stage(1) as it:
        await it.acquire()

        async def take() -> None:
            with pytest.raises(SessionClosedError):
                await it.acquire()
            refused.append("it")

        nursery.start_soon(take)
        await wait_all_tasks_blocked()
    assert refused == ["it"]


async def test_hurry_refuses_those_in_line_and_removes_all(autojump_clock: MockClock, stage: Open) -> None:
    refused: list[str] = []
    async with stage(1) as it, trio.open_nursery() as nursery:
        await it.acquire()

        async def take() -> None:
            with pytest.raises(SessionClosedError):
                await it.acquire()
            refused.append("it")

        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        it.pool.hurry()
        await it.until(lambda: it.phases() == {})
        assert refused == ["it"]
        it.pool.hurry()


@pytest.mark.parametrize("after", [0.0, 0.001, 0.002, 0.03, 0.05, 0.092, 0.1, 0.143, 0.15, 0.16, 0.2])
async def test_cancelled_acquire_holds_nothing(autojump_clock: MockClock, stage: Open, after: float) -> None:
    """At every stage of a birth: what was started stays in the pool, belongs to nobody, and falls asleep."""
    async with stage(1) as it:
        with trio.move_on_after(after):
            await it.acquire("cancelled")
            await trio.sleep_forever()
        for lease in tuple(it.pool._leases):
            it.pool.release(lease)
        assert it.pool.status().waiting == 0
        await it.until(lambda: set(it.phases().values()) <= {"dormant"})
        lease = await it.acquire("next")
        assert lease.start.cause in ("wake", "cold")
        assert len(it.host.asked("create")) == 1


async def test_acquire_cancelled_in_line_makes_room(autojump_clock: MockClock, stage: Open) -> None:
    async with stage(1) as it:
        holder = await it.acquire("holder")
        with trio.move_on_after(1):
            await it.acquire("impatient")
        assert it.pool.status().waiting == 0
        it.pool.release(holder)
        await it.until_phase(holder.name, "dormant")


@pytest.mark.parametrize("first", ["cancel", "release"])
async def test_acquire_cancelled_in_the_moment_of_the_grant(autojump_clock: MockClock, stage: Open, first: str) -> None:
    """Lent and cancelled in one tick, in either order: the container is not lost."""
    async with stage(1) as it:
        holder = await it.acquire("holder")
        scope = trio.CancelScope()

        async def take() -> None:
            with scope:
                # Granted before it was cancelled, it may return, as everything in Trio that has happened.
                it.pool.release(await it.acquire("unlucky"))
                assert first == "release"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await wait_all_tasks_blocked()
            if first == "cancel":
                scope.cancel()
                it.pool.release(holder)
            else:
                it.pool.release(holder)
                scope.cancel()
        assert it.pool.status().waiting == 0
        assert it.phase(holder.name) == "cooling"
        await it.until_phase(holder.name, "dormant")
        assert (await it.acquire("next")).name == holder.name


async def test_second_in_line_gets_what_a_cancelled_first_was_granted(autojump_clock: MockClock, stage: Open) -> None:
    async with stage(1) as it:
        holder = await it.acquire("holder")
        scope, leases = trio.CancelScope(), list[Lease]()

        async def first() -> None:
            with scope:
                await it.acquire("first")

        async def second() -> None:
            leases.append(await it.acquire("second"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await wait_all_tasks_blocked()
            nursery.start_soon(second)
            await wait_all_tasks_blocked()
            scope.cancel()
            it.pool.release(holder)
        assert [lease.name for lease in leases] == [holder.name]


async def test_acquire_under_a_cancelled_scope(autojump_clock: MockClock, stage: Open) -> None:
    """Also when an idle container is there at once."""
    async with stage(1) as it:
        await dormant(it)
        order = it.pool.warm([(image(), 1)], execution_id="e", dormancy_timeout=300)
        with trio.CancelScope() as scope:
            scope.cancel()
            await it.acquire()
        assert scope.cancelled_caught
        it.pool.cool_down(order)
        await it.until(lambda: list(it.phases().values()) == ["dormant"])


async def test_release_twice_and_condemn_after_release_do_nothing(autojump_clock: MockClock, stage: Open) -> None:
    async with stage(1) as it:
        lease = await it.acquire()
        it.pool.release(lease)
        other = await it.acquire("other")
        it.pool.release(lease)
        it.pool.condemn(lease, "too late")
        assert it.phase(other.name) == "running"


async def test_condemned_container_is_removed_and_replaced_for_those_in_line(
    autojump_clock: MockClock, stage: Open
) -> None:
    async with stage(1) as it, trio.open_nursery() as nursery:
        lease = await it.acquire()
        leases: list[Lease] = []

        async def take() -> None:
            leases.append(await it.acquire("next"))

        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        it.pool.condemn(lease, "a block may still be in it")
        await it.until(lambda: bool(leases))
        assert leases[0].name != lease.name
        stopping = next(change for change in it.changes(lease.name) if change.phase == "stopping")
        assert (stopping.from_state, stopping.to_state, stopping.cause) == (
            "running",
            "running",
            "a block may still be in it",
        )


async def test_slow_birth_does_not_hold_up_another(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it, trio.open_nursery() as nursery:
        it.host.orders.order(slow(500), "create")

        async def take() -> None:
            with trio.move_on_after(10):
                await it.acquire("slow")

        nursery.start_soon(take)
        await it.until(lambda: bool(it.host.asked("create")))
        began = trio.current_time()
        await it.acquire("quick", of="other")
        assert trio.current_time() - began < 1
        nursery.cancel_scope.cancel()
