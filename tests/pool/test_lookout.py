"""What others do to our containers, and a host that does not answer when it is asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from warmlane.pool.lookout import PERIOD
from warmlane.runtimes.fake_box import Pace
from warmlane.runtimes.fake_faults import Fault, fails_before, hangs, lies
from warmlane.settings import Graces

if TYPE_CHECKING:
    from tests.pool.conftest import Stage

Open = Callable[..., "AbstractAsyncContextManager[Stage]"]


async def test_frozen_while_a_block_runs_is_thawed(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        lease = await it.acquire()
        it.host.freeze(lease.name)
        await trio.sleep(0.1)
        assert it.host.names("running") == [lease.name]
        assert it.phase(lease.name) == "running"
        with trio.fail_after(1):
            await lease.agent.health()


@pytest.mark.parametrize("fault", [fails_before(), hangs()], ids=["broken", "hangs"])
async def test_frozen_and_cannot_be_thawed_is_given_up(autojump_clock: MockClock, stage: Open, fault: Fault) -> None:
    """Its block would wait for ever."""
    async with stage() as it:
        lease = await it.acquire()
        it.host.orders.order(fault, "unpause")
        it.host.freeze(lease.name)
        await it.until_phase(lease.name, None)
        it.pool.release(lease)


async def test_thawed_in_its_sleep_is_frozen_again(autojump_clock: MockClock, stage: Open) -> None:
    """And its time goes on as before."""
    async with stage() as it:
        lease = await it.acquire(dormancy=60)
        it.pool.release(lease)
        await it.until_phase(lease.name, "dormant")
        await trio.sleep(30)
        it.host.thaw(lease.name)
        await trio.sleep(0.1)
        assert it.host.names("paused") == [lease.name]
        await trio.sleep(31)
        assert it.host.names() == []


async def test_our_own_pauses_and_wakes_are_no_news(autojump_clock: MockClock, stage: Open) -> None:
    """They echo among the sightings, and nobody is asked about a container that rests."""
    async with stage() as it:
        asked = len(it.host.asked("owned"))
        for _ in range(3):
            lease = await it.acquire()
            it.pool.release(lease)
            await trio.sleep(5)
        assert len(it.host.asked("owned")) == asked
        assert len(it.host.asked("pause", "unpause")) == 5


@pytest.mark.parametrize("fault", [fails_before(), hangs()], ids=["broken", "hangs"])
async def test_host_that_does_not_answer_is_asked_until_it_does(
    autojump_clock: MockClock, stage: Open, fault: Fault
) -> None:
    async with stage() as it:
        lease = await it.acquire()
        it.host.orders.order(fault, "owned", times=5)
        it.host.freeze(lease.name)
        await trio.sleep(60)
        assert it.host.names("running") == [lease.name]


async def test_contradiction_costs_no_container(autojump_clock: MockClock, stage: Open) -> None:
    """It is in no list, and runs, says the host: it is left alone."""
    async with stage() as it:
        lease = await it.acquire()
        it.host.orders.order(lies([]), "owned")
        it.host.regain_sight()
        await trio.sleep(10)
        assert it.phase(lease.name) == "running"


async def test_what_is_lost_without_a_word_is_noticed_within_the_period(autojump_clock: MockClock, stage: Open) -> None:
    """No sighting, and no `resync` either: removed in its sleep, dead at work, frozen at work, thawed in its sleep."""
    async with stage() as it:
        leases = {name: await it.acquire() for name in ("removed", "dead", "frozen", "thawed")}
        names = {name: lease.name for name, lease in leases.items()}
        for name in ("removed", "thawed"):
            it.pool.release(leases[name])
        await it.until(lambda: it.phase(names["removed"]) == it.phase(names["thawed"]) == "dormant")
        it.host.lose_sight()
        it.host.remove_behind_back(names["removed"])
        it.host.kill(names["dead"])
        it.host.freeze(names["frozen"])
        it.host.thaw(names["thawed"])
        await trio.sleep(PERIOD + 0.5)
        assert it.phases() == {names["frozen"]: "running", names["thawed"]: "dormant"}
        assert it.host.names("running") == [names["frozen"]]
        assert it.host.names("paused") == [names["thawed"]]


async def test_it_asks_once_in_a_period_and_not_at_all_for_nothing(autojump_clock: MockClock, stage: Open) -> None:
    async with stage() as it:
        lease = await it.acquire(dormancy=1000)
        it.pool.release(lease)
        await it.until_phase(lease.name, "dormant")
        asked = len(it.host.calls)
        await trio.sleep(10 * PERIOD)
        assert [call.kind for call in it.host.calls[asked:]] == ["owned"] * 10
        await it.until_phase(lease.name, None)
        asked = len(it.host.calls)
        await trio.sleep(10 * PERIOD)
        assert it.host.calls[asked:] == []


async def test_what_moves_while_the_host_makes_its_list_is_not_judged_by_it(
    autojump_clock: MockClock, stage: Open
) -> None:
    """The list says that it is frozen; it has been woken since, by us: nobody thaws it."""
    async with stage() as it:
        lease = await it.acquire()
        it.pool.release(lease)
        await it.until_phase(lease.name, "dormant")
        it.host.orders.order(Fault(pause=1.0), "owned")
        it.host.regain_sight()
        await trio.sleep(0.5)
        await it.acquire()
        await trio.sleep(5)
        assert len(it.host.asked("unpause")) == 1


async def test_pull_that_says_nothing_more_is_given_up(autojump_clock: MockClock, stage: Open) -> None:
    """And tried once again."""
    async with stage(graces=Graces(pull=60)) as it:
        it.host.orders.order(hangs(), "prepare")
        began = trio.current_time()
        await it.acquire()
        assert 60 < trio.current_time() - began < 61


async def test_pull_that_goes_on_may_take_long(autojump_clock: MockClock, stage: Open) -> None:
    async with stage(images={"img": "remote"}, pace=Pace(pull=200), graces=Graces(pull=60)) as it:
        began = trio.current_time()
        await it.acquire()
        assert trio.current_time() - began > 200
        assert it.host.asked("prepare") == it.host.asked("prepare")[:1]
