"""The pool against a model that is much simpler: who stands in line, who holds a lease, what was ordered warm.

Programs of steps are drawn, and shrunk when one breaks something. After each step, the moment all is still, the pool
must agree with the model; after the last one the weather turns fair, and everything must come to rest.
"""

from __future__ import annotations

from typing import Any

import trio
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from warmlane.bus import Bus, Feed
from warmlane.errors import WarmlaneError
from warmlane.events import ContainerStateChanged, PoolStatus
from warmlane.plan.model import Container
from warmlane.pool import Lease, Pool, open_pool
from warmlane.pool.lease import WarmOrder
from warmlane.runtimes.fake_box import INSTANT, BoxState, Pace
from warmlane.runtimes.fake_faults import Fault, fails_after, fails_before, hangs, refused, slow
from warmlane.runtimes.fake_host import FakeHost, open_fake_host
from warmlane.settings import Settings
from warmlane.simulation.host import WatchedRuntime
from warmlane.simulation.seeding import run_seeded
from warmlane.simulation.witness import Witness

KINDS = ("red", "green", "blue")
CONTAINERS = {kind: Container(image=kind, transport="tcp") for kind in KINDS}
DORMANCY = 20.0
FAULTS: tuple[Fault, ...] = (
    fails_before(), fails_before(refused), fails_after(), fails_after(refused), hangs(), hangs(does=True), slow(1.0)
)  # fmt: skip
CALLS: tuple[Any, ...] = ("prepare", "create", "start", "health", "pause", "unpause", "remove", "alive", "owned")

kinds, number = st.sampled_from(KINDS), st.integers(0, 7)
STEPS = st.one_of(
    st.tuples(st.just("acquire"), kinds),
    st.tuples(st.just("acquire"), kinds),
    st.tuples(st.just("cancel"), number),
    st.tuples(st.just("release"), number, st.booleans()),
    st.tuples(st.just("release"), number, st.booleans()),
    st.tuples(st.just("condemn"), number),
    st.tuples(st.just("wait"), st.sampled_from([0.001, 0.02, 0.1, 0.26, 1.0, DORMANCY, 60.0])),
    st.tuples(st.just("wait"), st.sampled_from([0.001, 0.02, 0.1, 0.26, 1.0, DORMANCY, 60.0])),
    st.tuples(st.just("fault"), st.sampled_from(FAULTS), st.sampled_from(CALLS)),
    st.tuples(st.just("deed"), number, st.sampled_from(["kill", "remove_behind_back", "forget", "freeze", "thaw"])),
    st.tuples(st.just("warm"), kinds, st.integers(1, 3)),
    st.tuples(st.just("cool"), number),
    st.tuples(st.just("sight"), st.booleans()),
)


@define(eq=False)
class Wanted:
    """One who has asked for a container. While he waits, neither `lease` nor `refusal` is set."""

    kind: str
    order: int
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    lease: Lease | None = None
    refusal: WarmlaneError | None = None
    over: bool = False

    @property
    def waits(self) -> bool:
        return not self.over and self.lease is None

    @property
    def holds(self) -> bool:
        return not self.over and self.lease is not None


@define
class Model:
    """Carries out one program, and compares."""

    pool: Pool
    host: FakeHost
    nursery: trio.Nursery
    feed: Feed
    cap: int
    wanted: list[Wanted] = field(factory=list[Wanted])
    served: list[Wanted] = field(factory=list[Wanted])
    """Who got a container, in the order in which that was announced."""
    warm_orders: list[WarmOrder] = field(factory=list[WarmOrder])
    troubled: bool = False
    """Whether anything has gone wrong so far, so that a container may be refused."""

    def status(self) -> PoolStatus:
        return self.pool.status()

    async def step(self, step: tuple[Any, ...]) -> None:
        await getattr(self, f"do_{step[0]}")(*step[1:])
        await wait_all_tasks_blocked()
        self.compare()

    async def do_acquire(self, kind: str) -> None:
        ready = {record.phase for record in self.status().containers if record.image == kind}
        nobody_waits = not any(one.waits for one in self.wanted)
        one = Wanted(kind, len(self.wanted))
        self.wanted.append(one)
        self.nursery.start_soon(self.ask, one)
        await wait_all_tasks_blocked()
        if nobody_waits and "idle" in ready:
            assert one.lease is not None, "an idle one is handed out at once"
            assert one.lease.start.cause == "hit"
        elif nobody_waits and "cooling" in ready:
            assert one.lease is not None, "so is a cooling one"
            assert one.lease.start.cause == "cooling"

    async def ask(self, one: Wanted) -> None:
        with one.scope:
            try:
                one.lease = await self.pool.acquire(
                    CONTAINERS[one.kind], block_id=str(one.order), execution_id="e", dormancy_timeout=DORMANCY
                )
            except WarmlaneError as error:
                one.refusal, one.over = error, True
        if one.scope.cancelled_caught:
            one.over = True

    async def do_cancel(self, number: int) -> None:
        if waiting := [one for one in self.wanted if one.waits]:
            waiting[number % len(waiting)].scope.cancel()

    async def do_release(self, number: int, at_once: bool) -> None:
        if (one := self.holder(number)) is not None and one.lease is not None:
            self.pool.release(one.lease, at_once=at_once)
            one.over = True
            self.pool.release(one.lease)  # once more changes nothing

    async def do_condemn(self, number: int) -> None:
        if (one := self.holder(number)) is not None and one.lease is not None:
            self.pool.condemn(one.lease, "the model says so")
            one.over = True

    def holder(self, number: int) -> Wanted | None:
        holders = [one for one in self.wanted if one.holds]
        return holders[number % len(holders)] if holders else None

    async def do_wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def do_fault(self, fault: Fault, call: Any) -> None:
        self.host.orders.order(fault, call)
        self.troubled = True

    async def do_deed(self, number: int, deed: str) -> None:
        if names := self.host.names():
            getattr(self.host, deed)(names[number % len(names)])
            self.troubled = True

    async def do_warm(self, kind: str, number: int) -> None:
        order = self.pool.warm([(CONTAINERS[kind], number)], execution_id="e", dormancy_timeout=DORMANCY)
        self.warm_orders.append(order)

    async def do_cool(self, number: int) -> None:
        if self.warm_orders:
            self.pool.cool_down(self.warm_orders.pop(number % len(self.warm_orders)))

    async def do_sight(self, regained: bool) -> None:
        (self.host.regain_sight if regained else self.host.lose_sight)()

    def compare(self) -> None:
        """What holds whenever all is still."""
        while (envelope := self.feed.receive_nowait()) is not None:
            event = envelope.event
            if isinstance(event, ContainerStateChanged) and event.phase == "running" and event.block_id:
                self.served.append(self.wanted[int(event.block_id)])
        status = self.status()
        records = {record.name: record for record in status.containers}
        assert len(records) <= self.cap
        assert status.waiting == sum(one.waits for one in self.wanted)
        held = {one.lease.name: one for one in self.wanted if one.holds and one.lease}
        assert len(held) == sum(one.holds for one in self.wanted), "no two hold one container"
        running = {name: record for name, record in records.items() if record.phase == "running"}
        assert running.keys() <= held.keys()
        for name, record in running.items():
            assert record.block_id == str(held[name].order)
            assert record.image == held[name].kind
        if not self.troubled:
            assert running.keys() == held.keys()
        for kind in KINDS:
            mine = [one.order for one in self.served if one.kind == kind]
            assert mine == sorted(mine), "first come, first served"
            if any(one.waits and one.kind == kind for one in self.wanted):
                idle = [record for record in records.values() if record.image == kind and record.phase in READY]
                assert not idle or len({one.kind for one in self.wanted if one.waits}) > 1, "nobody waits beside it"
        if not self.troubled:
            assert not any(one.refusal for one in self.wanted)

    async def fair_weather(self) -> None:
        """Everything comes to rest: whoever waits is served, all fall asleep, and are gone when their time is up."""
        self.host.orders.clear()
        self.host.regain_sight()
        await trio.sleep(300)
        self.compare()
        for record in self.status().containers:
            really: BoxState = "paused" if record.phase == "dormant" else "running"
            assert record.name in self.host.names(really), record
        while any(one.waits or one.holds for one in self.wanted):
            assert any(one.holds for one in self.wanted), "who waits is served when nobody holds anything"
            await self.do_release(0, at_once=False)
            await trio.sleep(2)
            self.compare()
        while self.warm_orders:
            await self.do_cool(0)
        await self.do_acquire("red")
        await trio.sleep(5)
        last = self.holder(0)
        assert last is not None
        assert last.lease is not None
        await self.do_release(0, at_once=False)
        await trio.sleep(1)
        for record in self.status().containers:
            assert record.phase == "dormant", record
            assert record.name in self.host.names("paused")
        await trio.sleep(DORMANCY - 2)
        assert last.lease.name in self.host.names("paused"), "its time is not up"
        await trio.sleep(3)
        assert self.status().containers == ()
        assert self.host.names() == []


READY = ("idle", "cooling")


async def perform(cap: int, pace: Pace, program: list[tuple[Any, ...]], rest: bool) -> None:
    witness = Witness(cap)
    async with open_fake_host(pace=pace) as host:
        runtime = WatchedRuntime(host, cap, set(), host.orders)
        bus = Bus(clock=trio.current_time)
        with bus.feed(whole=True) as feed, bus.feed(whole=True) as served:
            async with (
                open_pool(runtime, bus, Settings(max_containers=cap), session_id="s", owner="o") as pool,
                trio.open_nursery() as nursery,
            ):
                model = Model(pool, host, nursery, served, cap)
                for step in program:
                    await model.step(step)
                if rest:
                    await model.fair_weather()
                else:
                    host.orders.clear()
                nursery.cancel_scope.cancel()
            witness.hear(envelope for envelope in iter(feed.receive_nowait, None) if envelope)
        hung = {call.name for call, fault in host.orders.made if fault.hangs and call.kind in ("create", "start")}
        assert set(pool.left_behind) <= hung
        await trio.sleep(100)
        assert set(host.names()) <= hung
    assert witness.broken == []


@settings(max_examples=800, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    cap=st.integers(1, 4),
    pace=st.sampled_from([Pace(), INSTANT]),
    program=st.lists(STEPS, min_size=1, max_size=40),
    rest=st.booleans(),
)
def test_pool_agrees_with_its_model(cap: int, pace: Pace, program: list[tuple[Any, ...]], rest: bool) -> None:
    run_seeded(lambda: perform(cap, pace, program, rest), "model")
