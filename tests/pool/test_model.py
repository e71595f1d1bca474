"""The pool against a model that is much simpler: who stands in line, who holds a lease, what was ordered warm.

A state machine draws the steps, and shrinks them when one breaks something. After each step, the moment all is still,
the pool must agree with the model. A crash ends the engine of that pool in the midst of everything: not one call of it
reaches the host any more; the next session begins at once beside what is left, and may have it swept. At the end the
weather turns fair, and everything must come to rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

import trio
from attrs import define, field
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from trio.testing import MockClock, wait_all_tasks_blocked

from warmlane.bus import Bus, Feed
from warmlane.errors import RuntimeSilentError, WarmlaneError
from warmlane.events import ContainerStateChanged, PoolStatus
from warmlane.plan.model import Container
from warmlane.pool import Lease, Pool, open_pool
from warmlane.pool.lease import WarmOrder
from warmlane.runtimes.fake_box import INSTANT, BoxState, Pace
from warmlane.runtimes.fake_faults import Call, Fault, fails_after, fails_before, hangs, refused, slow
from warmlane.runtimes.fake_host import FakeHost, open_fake_host
from warmlane.runtimes.sweep import sweep
from warmlane.settings import Settings
from warmlane.simulation.host import WatchedRuntime
from warmlane.simulation.seeding import seeded_scheduler
from warmlane.simulation.witness import Witness

KINDS = ("red", "green", "blue")
READY = ("idle", "cooling")
CONTAINERS = {kind: Container(image=kind, transport="tcp") for kind in KINDS}
DORMANCY = 20.0
FAULTS: tuple[Fault, ...] = (
    fails_before(), fails_before(refused), fails_after(), fails_after(refused), hangs(), hangs(does=True), slow(1.0)
)  # fmt: skip
CALLS: tuple[Any, ...] = ("prepare", "create", "start", "health", "pause", "unpause", "remove", "alive", "owned")
KIND, NUMBER = st.sampled_from(KINDS), st.integers(0, 7)
DEEDS = ("kill", "remove_behind_back", "forget", "freeze", "thaw")


class Stepwise:
    """A Trio program that a synchronous caller moves on, step by step; between two steps its time stands still.

    It is a guest run whose host does nothing but wait for the end of a step.
    """

    def __init__(self, program: Callable[[Stepwise], Awaitable[None]]) -> None:
        self._program = program
        self._ticks: deque[Callable[[], object]] = deque()
        self._step: Callable[[], Awaitable[None]] | None = None
        self._wanted = trio.Event()
        self._error: BaseException | None = None
        self._closing = self._ended = False
        trio.lowlevel.start_guest_run(
            self._run,
            run_sync_soon_threadsafe=self._ticks.append,
            done_callback=self._done,
            clock=MockClock(autojump_threshold=0),
        )

    def take(self, step: Callable[[], Awaitable[None]]) -> None:
        """Returns when that step has been taken and all is still; raises what it raised."""
        self._step = step
        self._tick_while(lambda: self._step is not None)

    def close(self) -> None:
        """The program takes no more steps, and ends; raises what it raises."""
        self._closing = True
        self._tick_while(lambda: True)

    async def serve(self) -> None:
        """For the program: takes the steps until there are to be no more."""
        while not self._closing:
            await self._wanted.wait()
            self._wanted = trio.Event()
            if self._step is not None:
                try:
                    await self._step()
                    await wait_all_tasks_blocked()
                except Exception as error:
                    self._error = error
                self._step = None

    def _tick_while(self, wanted: Callable[[], bool]) -> None:
        self._wanted.set()
        while wanted() and not self._ended:
            self._ticks.popleft()()
        error, self._error = self._error, None
        if error is not None:
            raise error

    async def _run(self) -> None:
        with trio.fail_after(1e7):  # simulated seconds: what waits for ever is found
            await self._program(self)

    def _done(self, ended: Any) -> None:
        self._ended = True
        try:
            ended.unwrap()
        except BaseException as error:
            self._error = error


class Wire:
    """The host as one engine reaches it. Once it is cut, what was asked is carried out, and nothing more is asked."""

    def __init__(self, host: FakeHost) -> None:
        self.cut = False
        self._host = host

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    async def perform(self, kind: Any, name: str, *call: Any, **said: Any) -> Any:
        if self.cut:
            await trio.lowlevel.checkpoint()
            raise RuntimeSilentError(f"{kind} {name}", "the engine is dead")
        return await self._host.perform(kind, name, *call, **said)


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
    """What one session must look like, and the steps in it."""

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

    async def acquire(self, kind: str) -> None:
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

    def cancel(self, number: int) -> None:
        if waiting := [one for one in self.wanted if one.waits]:
            waiting[number % len(waiting)].scope.cancel()

    def release(self, number: int, at_once: bool) -> None:
        if (one := self.holder(number)) is not None and one.lease is not None:
            self.pool.release(one.lease, at_once=at_once)
            one.over = True
            self.pool.release(one.lease)  # once more changes nothing

    def condemn(self, number: int) -> None:
        if (one := self.holder(number)) is not None and one.lease is not None:
            self.pool.condemn(one.lease, "the model says so")
            one.over = True

    def holder(self, number: int) -> Wanted | None:
        holders = [one for one in self.wanted if one.holds]
        return holders[number % len(holders)] if holders else None

    def warm(self, kind: str, number: int) -> None:
        order = self.pool.warm([(CONTAINERS[kind], number)], execution_id="e", dormancy_timeout=DORMANCY)
        self.warm_orders.append(order)

    def cool(self, number: int) -> None:
        if self.warm_orders:
            self.pool.cool_down(self.warm_orders.pop(number % len(self.warm_orders)))

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
        await trio.sleep(300)
        self.compare()
        for record in self.status().containers:
            really: BoxState = "paused" if record.phase == "dormant" else "running"
            assert record.name in self.host.names(really), record
        while any(one.waits or one.holds for one in self.wanted):
            assert any(one.holds for one in self.wanted), "who waits is served when nobody holds anything"
            self.release(0, at_once=False)
            await trio.sleep(2)
            self.compare()
        while self.warm_orders:
            self.cool(0)
        await self.acquire("red")
        await trio.sleep(5)
        last = self.holder(0)
        assert last is not None
        assert last.lease is not None
        self.release(0, at_once=False)
        await trio.sleep(1)
        for record in self.status().containers:
            assert record.phase == "dormant", record
            assert record.name in self.host.names("paused")
        await trio.sleep(DORMANCY - 2)
        assert last.lease.name in self.host.names("paused"), "its time is not up"
        await trio.sleep(3)
        assert self.status().containers == ()


@define
class Session:
    """One engine's life, from its start to its crash or its end."""

    id: str
    host: FakeHost
    cap: int
    troubled: bool
    over: trio.Event = field(factory=trio.Event)
    wire: Wire = field(init=False)
    runtime: WatchedRuntime = field(init=False)
    model: Model = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.wire = Wire(self.host)
        others: set[str] = set()

        def faults(call: Call) -> Fault | None:
            others.update(found.name for found in self.host.found() if found.session_id != self.id)
            return self.host.orders(call)

        self.runtime = WatchedRuntime(self.host, self.cap, others, faults)
        self.runtime.host = cast("FakeHost", self.wire)

    async def live(self, task_status: trio.TaskStatus[None]) -> None:
        """Ends soon after `over`, in a crash as well: then in vain."""
        witness = Witness(self.cap)
        bus = Bus(clock=trio.current_time)
        settings = Settings(max_containers=self.cap)
        with bus.feed(whole=True) as feed, bus.feed(whole=True) as served:
            async with (
                open_pool(self.runtime, bus, settings, session_id=self.id, owner="o") as pool,
                trio.open_nursery() as nursery,
            ):
                self.model = Model(pool, self.host, nursery, served, self.cap, troubled=self.troubled)
                task_status.started()
                await self.over.wait()
                nursery.cancel_scope.cancel()
            witness.hear(envelope for envelope in iter(feed.receive_nowait, None) if envelope)
        assert witness.broken == []
        if not self.wire.cut:
            assert set(pool.left_behind) <= self.never_answered()

    def never_answered(self) -> set[str]:
        """The containers of which nobody was told whether they came to be."""
        made = self.host.orders.made
        return {call.name for call, fault in made if fault.hangs and call.kind in ("create", "start")}


@define
class World:
    """The host, and the sessions that come and go on it."""

    cap: int
    pace: Pace
    rest: bool
    failed: bool = False
    host: FakeHost = field(init=False)
    nursery: trio.Nursery = field(init=False)
    session: Session = field(init=False)
    dead: list[Session] = field(factory=list[Session])

    async def exist(self, steps: Stepwise) -> None:
        async with open_fake_host(pace=self.pace) as self.host:
            async with trio.open_nursery() as self.nursery:
                await self.begin(troubled=False)
                await steps.serve()
                self.host.orders.clear()
                self.session.over.set()
            if not self.failed:
                await trio.sleep(100)
                await self.sweep_all()
                assert set(self.host.names()) <= self.session.never_answered()

    @property
    def model(self) -> Model:
        return self.session.model

    async def begin(self, *, troubled: bool) -> None:
        self.session = Session(f"s{len(self.dead)}", self.host, self.cap, troubled)
        await self.nursery.start(self.session.live)

    async def crash(self) -> None:
        """The engine is dead in this moment; what it had asked of the host goes on."""
        self.session.wire.cut = True
        self.session.over.set()
        self.dead.append(self.session)
        await self.begin(troubled=self.model.troubled)

    async def adopt(self, number: int) -> None:
        """The session that lives sweeps what one of the dead has left, as well as the host lets it."""
        dead = self.dead[number % len(self.dead)]
        with trio.move_on_after(60), suppress(WarmlaneError):
            swept = await sweep(self.session.runtime, ended=dead.id)
            mine = {found.name for found in self.host.found() if found.session_id == dead.id}
            assert not mine & set(swept.removed) - dead.never_answered()
            assert all(name.startswith(f"warmlane-{dead.id}-") for name in swept.removed)

    async def sweep_all(self) -> None:
        """In fair weather nothing stays of those who died, and nobody else loses anything."""
        for dead in self.dead:
            assert (await sweep(self.session.runtime)).removed == (), "of an owner that is not known to be dead"
            swept = await sweep(self.session.runtime, ended=dead.id)
            assert swept.failed == ()
            assert set(swept.kept) == set(self.host.names())
            assert not any(found.session_id == dead.id for found in self.host.found())

    async def come_to_rest(self) -> None:
        self.host.orders.clear()
        self.host.regain_sight()
        await self.model.fair_weather()
        await self.sweep_all()
        assert self.host.names() == []


class PoolMachine(RuleBasedStateMachine):
    """Draws the steps."""

    @initialize(cap=st.integers(1, 4), pace=st.sampled_from([Pace(), INSTANT]), rest=st.booleans())
    def begin(self, cap: int, pace: Pace, rest: bool) -> None:
        self.scheduler = seeded_scheduler("model")
        self.scheduler.__enter__()
        self.world = World(cap, pace, rest)
        self.steps = Stepwise(self.world.exist)
        self.take(wait_all_tasks_blocked)

    def take(self, step: Callable[[], object]) -> None:
        async def whole() -> None:
            done = step()
            if isinstance(done, Awaitable):
                await done
            await wait_all_tasks_blocked()
            self.world.model.compare()

        try:
            self.steps.take(whole)
        except BaseException:
            self.world.failed = True
            raise

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return  # its first step was not drawn
        try:
            try:
                if self.world.rest and not self.world.failed:
                    self.take(self.world.come_to_rest)
            finally:
                self.steps.close()
        finally:
            self.scheduler.__exit__(None, None, None)

    def waiting(self) -> bool:
        return any(one.waits for one in self.world.model.wanted)

    def holding(self) -> bool:
        return any(one.holds for one in self.world.model.wanted)

    @rule(kind=KIND)
    def acquire(self, kind: str) -> None:
        self.take(lambda: self.world.model.acquire(kind))

    @precondition(waiting)
    @rule(number=NUMBER)
    def cancel(self, number: int) -> None:
        self.take(lambda: self.world.model.cancel(number))

    @precondition(holding)
    @rule(number=NUMBER, at_once=st.booleans())
    def release(self, number: int, at_once: bool) -> None:
        self.take(lambda: self.world.model.release(number, at_once))

    @precondition(holding)
    @rule(number=NUMBER)
    def condemn(self, number: int) -> None:
        self.take(lambda: self.world.model.condemn(number))

    @rule(seconds=st.sampled_from([0.001, 0.02, 0.1, 0.26, 1.0, DORMANCY, 60.0]))
    def wait(self, seconds: float) -> None:
        """The grace, the dormancy, a janitor's pause, or a moment in between."""
        self.take(partial(trio.sleep, seconds))

    @rule(fault=st.sampled_from(FAULTS), call=st.sampled_from(CALLS))
    def fault(self, fault: Fault, call: Any) -> None:
        self.world.model.troubled = True
        self.take(lambda: self.world.host.orders.order(fault, call))

    @precondition(lambda self: self.world.host.names())
    @rule(number=NUMBER, deed=st.sampled_from(DEEDS))
    def deed(self, number: int, deed: str) -> None:
        names = self.world.host.names()
        self.world.model.troubled = True
        self.take(lambda: getattr(self.world.host, deed)(names[number % len(names)]))

    @rule(regained=st.booleans())
    def sight(self, regained: bool) -> None:
        self.take(self.world.host.regain_sight if regained else self.world.host.lose_sight)

    @rule(kind=KIND, number=st.integers(1, 3))
    def warm(self, kind: str, number: int) -> None:
        self.take(lambda: self.world.model.warm(kind, number))

    @precondition(lambda self: self.world.model.warm_orders)
    @rule(number=NUMBER)
    def cool(self, number: int) -> None:
        self.take(lambda: self.world.model.cool(number))

    @precondition(lambda self: self.world.model.status().containers and len(self.world.dead) < 3)
    @rule()
    def crash(self) -> None:
        self.take(self.world.crash)

    @precondition(lambda self: self.world.dead)
    @rule(number=NUMBER)
    def adopt(self, number: int) -> None:
        self.take(lambda: self.world.adopt(number))


TestPoolAgreesWithItsModel = PoolMachine.TestCase
TestPoolAgreesWithItsModel.settings = settings(
    max_examples=1000,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=(HealthCheck.too_slow,),
)
