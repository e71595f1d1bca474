"""A container's way through the pool: pause and grace, expiry, faults, quarantine, and the end from every state."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from warmlane.errors import RuntimeSilentError, SessionClosedError
from warmlane.plan.model import Container
from warmlane.pool import Lease
from warmlane.runtimes.fake_box import INSTANT, Pace
from warmlane.runtimes.fake_faults import Fault, fails_after, fails_before, ghost, hangs, lies, refused, slow
from warmlane.runtimes.fake_host import FakeHost
from warmlane.settings import Graces

if TYPE_CHECKING:
    from tests.pool.conftest import Stage


def image(name: str = "img") -> Container:
    return Container(image=name, transport="tcp")


Open = Callable[..., "AbstractAsyncContextManager[Stage]"]


async def dormant(stage: Stage, *, dormancy: float = 300.0) -> str:
    """The name of a container that has just fallen asleep."""
    lease = await stage.acquire("before", dormancy=dormancy)
    stage.pool.release(lease)
    await stage.until_phase(lease.name, "dormant")
    return lease.name


async def test_dormant_within_half_a_second_while_siblings_run(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        sibling, lease = await it.acquire("sibling"), await it.acquire("short")
        it.pool.release(lease)
        ended = trio.current_time()
        await it.until_phase(lease.name, "dormant")
        assert 0.25 <= trio.current_time() - ended <= 0.5
        assert it.host.names("paused") == [lease.name]
        assert it.phase(sibling.name) == "running"


async def test_container_is_not_paused_within_its_grace(autojump_clock: MockClock, stage: Open) -> None:
    """A chain of blocks never pays for a pause between them, and each use begins a grace of its own."""
    async with stage(pause_grace=1.0) as it:
        for number in range(5):
            lease = await it.acquire(str(number))
            await trio.sleep(0.3)
            it.pool.release(lease)
            await trio.sleep(0.9)
        assert it.host.asked("pause") == []
        await it.until_phase(lease.name, "dormant")
        assert len(it.host.asked("pause")) == 1


async def test_release_at_once_skips_the_grace(autojump_clock: MockClock, stage: Open) -> None:
    async with stage(pause_grace=100) as it:
        lease = await it.acquire()
        it.pool.release(lease, at_once=True)
        assert it.phase(lease.name) == "pausing"
        with trio.fail_after(0.1):
            await it.until_phase(lease.name, "dormant")


async def test_records_and_events_of_a_whole_life(autojump_clock: MockClock, stage: Open) -> None:
    """Every change in order, with from and to as the stories say; each record complete when it is announced."""
    async with stage(pace=Pace(look=0, create=1, start=1, boot=0, pause=0.5, unpause=0.25, agent=0)) as it:
        name = await dormant(it, dormancy=100)
        slept = trio.current_time()
        (record,) = it.pool.status().containers
        assert record.dormant_since is not None
        assert (record.block_id, record.execution_id, record.uses, record.image) == (None, None, 1, "img")
        lease = await it.acquire("again", dormancy=50)
        (record,) = it.pool.status().containers
        assert (record.block_id, record.execution_id, record.uses, record.dormant_since) == ("again", "e", 2, None)
        assert (record.id, record.name) == (lease.container_id, lease.name)
        it.pool.release(lease)
        await it.until_phase(name, None)
        steps = [(change.from_state, change.to_state, change.phase, change.block_id) for change in it.changes(name)]
        assert steps == [
            (None, "starting", "starting", None),
            ("starting", "idle", "idle", None),
            ("idle", "running", "running", "before"),
            ("running", "running", "cooling", None),
            ("running", "running", "pausing", None),
            ("running", "dormant", "dormant", None),
            ("dormant", "dormant", "waking", None),
            ("dormant", "idle", "idle", None),
            ("idle", "running", "running", "again"),
            ("running", "running", "cooling", None),
            ("running", "running", "pausing", None),
            ("running", "dormant", "dormant", None),
            ("dormant", "dormant", "stopping", None),
            ("dormant", "terminated", "terminated", None),
        ]
        first_idle, woken = [change for change in it.changes(name) if change.phase == "idle"]
        assert first_idle.cold_start == pytest.approx(2, abs=0.05)
        assert first_idle.duration == pytest.approx(2, abs=0.05)
        assert (first_idle.wake, woken.cold_start) == (None, None)
        assert woken.wake == pytest.approx(0.25, abs=0.05)
        expired = it.changes(name)[-2]
        assert expired.cause == "expired"
        assert expired.duration == pytest.approx(50, abs=0.1)
        assert trio.current_time() - slept > 50


async def test_expiry_frees_the_port_and_removes(autojump_clock: MockClock, stage: Open) -> None:
    """The one port there is belongs to a next container only when the first is gone."""
    async with stage(ports=range(23410, 23411)) as it:
        name = await dormant(it, dormancy=100)
        await trio.sleep(99.9)
        assert it.phase(name) == "dormant"
        await trio.sleep(0.2)
        assert it.phase(name) is None
        assert it.host.names() == []
        assert (await it.acquire("b", of="other")).name != name


async def test_waking_cancels_the_timer(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        name = await dormant(it, dormancy=10)
        await trio.sleep(9)
        lease = await it.acquire(dormancy=10)
        await trio.sleep(100)
        assert it.phase(name) == "running"
        it.pool.release(lease)
        await it.until_phase(name, "dormant")
        await trio.sleep(9)
        assert it.phase(name) == "dormant"
        await trio.sleep(2)
        assert it.phase(name) is None


@pytest.mark.parametrize("trial", range(8))
async def test_waking_and_expiry_in_one_tick(autojump_clock: MockClock, stage: Open, trial: int) -> None:
    """Trio wakes both tasks in any order: whoever is first wins, and the block gets a living container."""
    async with stage(1, pace=INSTANT, pause_grace=0) as it:
        lease = await it.acquire("before", dormancy=10)
        it.pool.release(lease)
        await it.until_phase(lease.name, "dormant")
        await trio.sleep_until(trio.current_time() + 10)
        second = await it.acquire("b")
        assert it.phases() == {second.name: "running"}
        assert it.host.names("running") == [second.name]
        assert second.start.cause == ("wake" if second.name == lease.name else "cold")


async def test_dormancy_is_the_last_users(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        lease = await it.acquire("patient", dormancy=1000)
        it.pool.release(lease)
        lease = await it.acquire("hasty", dormancy=1)
        it.pool.release(lease)
        await trio.sleep(2)
        assert it.phases() == {}


async def test_terminated_containers_disappear_from_the_snapshot(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        for number in range(5):
            it.pool.condemn(await it.acquire(str(number)), "no more")
        await it.until(lambda: it.phases() == {})
        assert it.pool.status().counts == {}


# Trouble


@pytest.mark.parametrize("phase", ["idle", "running", "cooling", "dormant"])
async def test_container_that_dies_is_noticed_in_any_state(autojump_clock: MockClock, stage: Open, phase: str) -> None:
    """It is removed, with the host's words as its last error, and the next block gets another."""
    async with stage(1, pause_grace=5) as it:
        it.pool.warm([(image(), 1)], execution_id="e", dormancy_timeout=300)
        await it.until(lambda: list(it.phases().values()) == ["idle"])
        (name,) = it.phases()
        if phase != "idle":
            lease = await it.acquire("x")
            if phase != "running":
                it.pool.release(lease)
                await it.until_phase(name, phase)
        assert it.phase(name) == phase
        it.host.kill(name)
        await it.until_phase(name, None)
        assert it.changes(name)[-2].cause == "it was killed by SIGKILL"
        lease = await it.acquire("next")
        assert lease.name != name


async def test_container_removed_behind_our_back(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        name = await dormant(it)
        it.host.remove_behind_back(name)
        await it.until_phase(name, None)
        assert (await it.acquire()).start.cause == "cold"


async def test_what_was_missed_is_found_when_sight_returns(autojump_clock: MockClock, stage: Open) -> None:
    """`resync`: everything is looked at; who lives stays."""
    async with stage() as it:
        other = await it.acquire("other")
        name = await dormant(it)
        it.host.lose_sight()
        it.host.kill(name)
        await trio.sleep(10)
        assert it.phase(name) == "dormant"
        it.host.regain_sight()
        await it.until_phase(name, None)
        assert it.phases() == {other.name: "running"}


async def test_host_that_does_not_answer_a_look_costs_no_container(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        name = await dormant(it)
        it.host.orders.order(fails_before(), "owned", times=3)
        it.host.regain_sight()
        await trio.sleep(1)
        assert it.phase(name) == "dormant"


@pytest.mark.parametrize("fault", [hangs(), fails_before(refused), fails_before()], ids=["hangs", "refused", "broken"])
async def test_container_that_cannot_be_paused_is_removed(autojump_clock: MockClock, stage: Open, fault: Fault) -> None:
    async with stage() as it:
        lease = await it.acquire()
        it.host.orders.order(fault, "pause")
        it.pool.release(lease)
        await it.until_phase(lease.name, None)
        assert it.host.names() == []


async def test_wake_wanted_during_a_pause(autojump_clock: MockClock, stage: Open) -> None:
    """Both calls are made, one after the other; the container is not lost."""
    async with stage(1, pace=Pace(pause=1)) as it:
        lease = await it.acquire()
        it.pool.release(lease, at_once=True)
        await trio.sleep(0.5)
        second = await it.acquire("b")
        assert (second.name, second.start.cause) == (lease.name, "wake")


async def test_explain_asks_the_host(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        lease = await it.acquire()
        assert await it.pool.explain(lease, "connection reset") == "connection reset"
        it.host.lose_sight()
        it.host.kill(lease.name)
        assert await it.pool.explain(lease, "connection reset") == "it was killed by SIGKILL"
        it.host.orders.order(fails_before(refused), "alive")
        assert "connection reset; could not " in await it.pool.explain(lease, "connection reset")
        it.pool.condemn(lease, "dead")


@pytest.mark.parametrize("blind", [True, False])
async def test_explain_waits_for_an_end_that_the_host_does_not_know_yet(
    autojump_clock: MockClock, stage: Open, blind: bool
) -> None:
    """Whoever sees it first, and even if it is removed meanwhile."""
    async with stage() as it:
        lease = await it.acquire()
        if blind:
            it.host.lose_sight()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _die() -> None:
                await trio.sleep(0.3)
                it.host.out_of_memory(lease.name)

            said = await it.pool.explain(lease, "connection reset")
        assert said == "it was killed for exceeding its memory limit"
        it.pool.condemn(lease, said)


# Quarantine


async def test_removal_that_fails_once_is_tried_again_within_its_grace(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        lease = await it.acquire()
        it.host.orders.order(fails_before(), "remove")
        it.pool.condemn(lease, "no more")
        await it.until_phase(lease.name, None)
        assert "quarantined" not in it.path(lease.name)


@pytest.mark.parametrize("fault", [hangs(), fails_before()], ids=["hangs", "broken"])
async def test_quarantined_counts_against_the_cap_and_is_tried_until_gone(
    autojump_clock: MockClock, stage: Open, fault: Fault
) -> None:
    async with stage(1, ports=range(23410, 23412)) as it:
        lease = await it.acquire()
        port = it.pool.status().containers[0].port
        it.host.orders.order(fault, "remove", times=10_000)
        it.pool.condemn(lease, "no more")
        await it.until_phase(lease.name, "quarantined")
        (record,) = it.pool.status().containers
        assert (record.state, record.port) == ("quarantined", port)
        began = trio.current_time()
        with pytest.raises(RuntimeSilentError, match="no answer to 'remove a container': there is no place left"):
            await it.acquire("in vain")
        assert trio.current_time() - began == pytest.approx(Graces().remove, abs=0.01)
        await trio.sleep(1000)
        assert it.phase(lease.name) == "quarantined", "its place is taken until it is gone"
        it.host.orders.clear()
        began = trio.current_time()
        await it.acquire("at last")
        assert trio.current_time() - began < 1, "who waits has it tried at once"
        assert it.path(lease.name)[-3:] == ["stopping", "quarantined", "terminated"]


async def test_quarantine_keeps_the_port(autojump_clock: MockClock, stage: Open) -> None:
    """Another one may be born beside it, with another port."""
    async with stage(2, ports=range(23410, 23412)) as it:
        lease = await it.acquire()
        it.host.orders.order(hangs(), "remove", name=lease.name, times=6)
        it.pool.condemn(lease, "no more")
        await it.until_phase(lease.name, "quarantined")
        await it.acquire("other")
        ports = {record.port for record in it.pool.status().containers}
        assert ports == {23410, 23411}
        await it.until_phase(lease.name, None)


async def test_what_is_quarantined_gets_a_last_try_when_the_pool_closes(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        lease = await it.acquire()
        it.host.orders.order(hangs(), "remove", times=3)
        it.pool.condemn(lease, "no more")
        await it.until_phase(lease.name, "quarantined")
        await trio.sleep(5)
        assert len(it.host.asked("remove")) == 3, "a further try is under way, and hangs"
        closing = trio.current_time()
    assert it.phases() == {}
    assert trio.current_time() - closing < 31


async def test_pool_that_cannot_remove_closes_in_bounded_time(autojump_clock: MockClock, stage: Open) -> None:
    """And says what it has left behind."""
    async with stage(leaves=2) as it:
        await it.acquire("a")
        await dormant(it)
        it.host.orders.order(hangs(), "remove", times=10_000)
        closing = trio.current_time()
    assert trio.current_time() - closing < 16
    assert set(it.pool.left_behind) == set(it.host.names())
    assert set(it.phases().values()) == {"quarantined"}


async def test_removal_confirmed_late_and_not_to_us(autojump_clock: MockClock, stage: Open) -> None:
    """The connection broke and the host went on: the next try finds it gone."""
    async with stage() as it:
        lease = await it.acquire()
        it.host.orders.order(ghost(0.05), "remove")
        it.pool.condemn(lease, "no more")
        await it.until_phase(lease.name, None)


async def test_removal_waits_for_a_create_that_cannot_be_cut(autojump_clock: MockClock, stage: Open) -> None:
    """However early the pool closes, what the host makes late is removed."""
    async with stage() as it:
        it.host.orders.order(slow(5), "create")
        it.pool.warm([(image(), 1)], execution_id="e", dormancy_timeout=1)
        await it.until(lambda: bool(it.host.asked("create")))


# The end


EARLY = ["preparing", "pulling", "creating", "starting", "booting"]
LATER = ["idle", "running", "cooling", "pausing", "dormant", "waking", "stopping", "quarantined"]


@pytest.mark.parametrize("phase", [*EARLY, *LATER])
async def test_teardown_from_every_state(autojump_clock: MockClock, stage: Open, phase: str) -> None:
    """Nothing is left, whatever the container was doing; the stage looks."""
    pace = Pace(pull=4, look=0.5, create=0.5, start=0.5, boot=0.5, pause=0.5, unpause=0.5, remove=0.5, agent=0.001)
    pulled = {"img": "remote"} if phase == "pulling" else {}
    early = {"preparing": 0.25, "pulling": 2.5, "creating": 0.75, "starting": 1.25, "booting": 1.75}
    async with trio.open_nursery() as nursery, stage(pace=pace, images=pulled) as it:
        order = it.pool.warm([(image(), 1)], execution_id="e", dormancy_timeout=1000)
        if phase in early:
            await trio.sleep(early[phase])
        else:
            await it.until(lambda: list(it.phases().values()) == ["idle"])
            await bring(it, phase, nursery)
        name, now = next(iter(it.phases().items()))
        assert now == ("starting" if phase in early else phase)
        assert order
    assert it.path(name)[-1] == "terminated"
    assert it.host.names() == []


async def bring(stage: Stage, phase: str, nursery: trio.Nursery) -> None:
    """The only container, idle now, into that phase."""
    if phase == "idle":
        return
    lease: Lease = await stage.acquire()
    if phase in ("cooling", "pausing", "dormant", "waking"):
        stage.pool.release(lease)
        await stage.until_phase(lease.name, "dormant" if phase == "waking" else phase)
    if phase == "waking":

        async def late() -> None:
            with pytest.raises(SessionClosedError):
                await stage.pool.acquire(image(), block_id="w", execution_id="e", dormancy_timeout=1)

        nursery.start_soon(late)
        await wait_all_tasks_blocked()
    if phase in ("stopping", "quarantined"):
        if phase == "quarantined":
            stage.host.orders.order(hangs(), "remove", times=2)
        stage.pool.condemn(lease, "no more")
        await stage.until_phase(lease.name, phase)


async def test_pool_whose_body_is_cancelled_leaves_nothing(autojump_clock: MockClock, stage: Open) -> None:
    """Clean-up does not run under the cancelled scope."""
    with trio.move_on_after(1) as scope:
        async with stage() as it:
            await it.acquire("a")
            await dormant(it)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert it.host.names() == []


async def test_pool_whose_body_raises_leaves_nothing_and_raises_just_that(
    autojump_clock: MockClock, stage: Open
) -> None:
    async def body() -> None:
        async with stage() as it:
            names.append((await it.acquire("a")).name)
            raise KeyError("mine")

    names: list[str] = []
    with pytest.raises(KeyError, match="mine"):
        await body()
    assert names


async def test_crash_of_the_pool_itself_still_removes(autojump_clock: MockClock, stage: Open) -> None:
    """An exception that no runtime may raise is our own bug: it is told, and the containers go all the same."""

    def bug(_call: object) -> Exception:
        return ZeroDivisionError("a bug")

    async def body() -> None:
        async with stage() as it:
            hosts.append(it.host)
            await it.acquire("a")
            it.host.orders.order(fails_before(bug), "pause")
            it.pool.release(await it.acquire("b"))
            await trio.sleep_forever()

    hosts: list[FakeHost] = []
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await body()
    assert hosts[0].names() == []


async def test_lie_of_a_host_is_the_hosts(autojump_clock: MockClock, stage: Open) -> None:
    """Told that it is gone, we believe it."""
    async with stage() as it:
        lease = await it.acquire()
        it.host.orders.order(lies(), "remove")
        it.pool.condemn(lease, "no more")
        await it.until_phase(lease.name, None)
        it.host.remove_behind_back(lease.name)


async def test_run_that_broke_off_after_it_began(autojump_clock: MockClock, stage: Open) -> None:
    """A removal whose answer was lost counts as not confirmed until a second one is."""
    async with stage() as it:
        lease = await it.acquire()
        it.host.orders.order(fails_after(), "remove")
        it.pool.condemn(lease, "no more")
        await it.until_phase(lease.name, None)
        assert len(it.host.asked("remove", name=lease.name)) == 2
