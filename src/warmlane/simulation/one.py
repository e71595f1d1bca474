"""One seed, played: a session from its opening until nothing of it is left, and every promise that it broke.

Nothing here is cancelled for good: a run that does not end within PATIENCE of simulated time is a finding, and so is
a way out that takes longer than the graces allow. What never ends at all is broken off, with Trio's own crash.
"""

from __future__ import annotations

import logging
import math
import random
import traceback
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import trio
from attrs import define, field, frozen

from warmlane.bus import Feed
from warmlane.engine import Execution
from warmlane.errors import LeftBehindError
from warmlane.plan.model import WorkflowPlan
from warmlane.runtimes.fake_host import FakeHost, open_fake_host
from warmlane.session import Session, open_session
from warmlane.settings import Graces, Settings
from warmlane.simulation.drawing import Act, Scenario, draw_scenario
from warmlane.simulation.host import WatchedRuntime
from warmlane.simulation.seeding import run_seeded
from warmlane.simulation.weather import RATES, Weather
from warmlane.simulation.witness import Ended, Witness, says_it_all

EPOCH = 1_767_225_600.0
PATIENCE = 4_000.0
"""Simulated seconds in which any run ends, whatever goes wrong with each of its calls."""
QUIET = 250.0
"""After so many seconds of fair weather nothing is under way any more: the longest retry, and the longest call."""
LEAVING = 150.0
"""Simulated seconds in which a session is left: calls that cannot be cut, and two tries of each removal."""
FOREVER = 100_000.0
GRACES = Graces()
SETTLING = GRACES.wake + 2 * GRACES.settle + GRACES.remove + 1.0
"""Simulated seconds from a cancellation until the run has settled: of a block, and of its container."""
_OWN = frozenset(
    {None, "error", "signal", "oom", "timeout", "plan-timeout", "sibling-failed", "earlier-failure", "bad-input"}
)
"""Reasons that have nothing to do with the weather."""


@frozen(kw_only=True)
class Ending:
    """How one run ended: a few words, and after how many simulated seconds."""

    words: str
    seconds: float


@frozen(kw_only=True)
class Played:
    """What became of one seed. `broken` is empty if every promise was kept; `digest` is equal for equal courses."""

    seed: int
    endings: tuple[Ending, ...]
    broken: tuple[str, ...]
    lives: int
    """How many containers lived."""
    faults: int
    """How much went wrong."""
    digest: int
    story: tuple[str, ...]
    """What went wrong, in order, for who wants to understand."""


def simulate_seed(seed: int, plan: WorkflowPlan | None = None, *, inputs: Mapping[str, Any] | None = None) -> Played:
    """Plays one session: runs of this plan, or of plans that are drawn, in weather that is drawn."""
    draw = random.Random(f"warmlane {seed}")  # noqa: S311  dice, no secrets
    scenario = draw_scenario(draw, plan)
    weather = Weather(random.Random(f"weather {seed}"), draw.choice(RATES))  # noqa: S311
    play = _Play(scenario, weather, inputs or {}, Witness(scenario.cap))
    with _no_warnings():
        try:
            run_seeded(play.perform, f"order {seed}")
        except Exception as error:  # noqa: BLE001  whatever comes out of a session is a finding
            play.broken.append("".join(traceback.format_exception(error)))
    return Played(
        seed=seed,
        endings=tuple(play.endings),
        broken=(*play.broken, *play.witness.broken),
        lives=play.witness.lives,
        faults=len(weather.made) + len(weather.deeds),
        digest=play.digest,
        story=tuple(_story(weather)),
    )


def _story(weather: Weather) -> Iterator[str]:
    told = [
        *((call.at, f"call {call.number}, {call.kind} {call.name}: {fault}") for call, fault in weather.made),
        *((at, f"somebody {said} {name}") for at, said, name in weather.deeds),
    ]
    for at, what in sorted(told):
        yield f"{at:9.3f} {what}"


@contextmanager
def _no_warnings() -> Generator[None]:
    """A simulated host that does not answer is no news to the user of this process."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


class _SlipError(Exception):
    """Raised in the caller's own code."""


@define
class _Play:
    scenario: Scenario
    weather: Weather
    inputs: Mapping[str, Any]
    witness: Witness
    broken: list[str] = field(factory=list[str])
    endings: list[Ending] = field(factory=list[Ending])
    digest: int = 0
    _feed: Feed | None = None
    _quiet: bool = False
    """Whether fair weather has lasted so long that all troubles must be over."""

    async def perform(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._break_off)
            with ExitStack() as feeds:
                await self._on_host(feeds)
            nursery.cancel_scope.cancel()

    async def _break_off(self) -> None:
        await trio.sleep(FOREVER)

        def crash() -> None:
            raise AssertionError(f"something hangs behind a shield; {self.weather.made[-3:]}")

        trio.lowlevel.current_trio_token().run_sync_soon(crash)

    async def _on_host(self, feeds: ExitStack) -> None:
        scenario = self.scenario
        async with open_fake_host(
            blocks=scenario.behaviour,
            images=scenario.images,
            pace=scenario.pace,
            blocks_at_once=1 if scenario.alone else None,
        ) as host:
            host.taken_ports.update(scenario.taken_ports)
            runtime = WatchedRuntime(host, scenario.cap, self.weather.deceived, self.weather)
            before = trio.lowlevel.current_statistics().tasks_living
            named: tuple[str, ...] = ()
            began = math.inf
            try:
                async with open_session(
                    runtime,
                    settings=Settings(max_containers=scenario.cap, graces=GRACES),
                    clock=lambda: EPOCH + trio.current_time(),
                ) as session:
                    self._feed = feeds.enter_context(session.events(whole=True))
                    await self._in_session(session, host)
                    began = trio.current_time()
            except LeftBehindError as error:
                named = error.names
            except _SlipError:
                pass
            self._note(trio.current_time() - began <= LEAVING, "leaving the session took too long")
            if self._quiet:
                self._note(not named, f"in fair weather, {named} could not be removed")
            await trio.sleep(QUIET)
            self._nothing_left(host, {*named, *self.weather.deceived})
            left = trio.lowlevel.current_statistics().tasks_living - before
            self._note(left <= 0, f"{left} tasks are left")
            self.digest = zlib.crc32(repr([(call.kind, round(call.at, 6)) for call in host.calls]).encode())

    async def _in_session(self, session: Session, host: FakeHost) -> None:
        left = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.weather.unrest, host)
            for act in self.scenario.acts:
                if act.way == "leave":
                    session.start(act.plan, inputs=self.inputs)
                    await trio.sleep(act.moment)
                    left = True
                    break
                await self._act(session, host, act)
                await trio.sleep(act.gap)
            if not left:
                self.weather.clear_up(host)
            nursery.cancel_scope.cancel()
        if left:
            return
        await trio.sleep(QUIET)
        self._all_quiet(session, host)
        host.blocks.clear()
        self._quiet = True
        report = await self._whole(session.start(self.scenario.acts[-1].plan, inputs=self.inputs))
        strange = [result for result in report.results if result.reason not in _OWN] if report else None
        self._note(strange == [], f"in fair weather after all that, the next run had {strange}")

    # One run.

    async def _act(self, session: Session, host: FakeHost, act: Act) -> None:
        began = trio.current_time()
        before = set(self._hear().runs)
        ended_at = await getattr(self, f"_{act.way}")(session, act)
        now = trio.current_time()
        if ended_at is not None:
            self._note(now - ended_at <= SETTLING, f"{act.way}: it took {now - ended_at:.1f} s until all had settled")
        for execution_id in sorted(set(self._hear().runs) - before):
            ended = self.witness.ended(execution_id)
            if ended is None:
                self.broken.append(f"{act.way}: {execution_id} has ended without a word")
                continue
            missing = says_it_all(act.plan, ended, alone=act.way != "twins")
            self.broken.extend(f"{act.way}: {what}" for what in missing)
            self.endings.append(Ending(words=_words(ended), seconds=now - began))
            self._given_back(session, host, execution_id, ended)
        self._note(session.pool_status().waiting == 0, f"{act.way}: a place in line is left")

    def _given_back(self, session: Session, host: FakeHost, execution_id: str, ended: Ended) -> None:
        mine = [record for record in session.pool_status().containers if record.execution_id == execution_id]
        held = [record.name for record in mine if record.phase == "running"]
        self._note(not held, f"{execution_id} has ended and holds {held}")
        given_up = {end.name for end in ended.receipt.containers if end.ended == "quarantined"}
        for run in host.running():
            if run.call.execution_id == execution_id and run.container not in given_up | self.weather.deceived:
                self.broken.append(f"{execution_id} has ended, and its block {run.call.block_id} runs")

    async def _run(self, session: Session, act: Act) -> float | None:
        with trio.move_on_after(PATIENCE) as scope:
            await session.run(act.plan, inputs=self.inputs)
        return self._late(scope.deadline) if scope.cancelled_caught else None

    async def _start(self, session: Session, act: Act) -> float | None:
        execution = session.start(act.plan, inputs=self.inputs)
        with trio.move_on_after(PATIENCE) as scope:
            await execution.wait()
        if not scope.cancelled_caught:
            return None
        return await self._abort_now(execution, self._late(scope.deadline))

    async def _abort(self, session: Session, act: Act) -> float | None:
        execution = session.start(act.plan, inputs=self.inputs)
        await trio.sleep(act.moment)
        return await self._abort_now(execution, trio.current_time())

    async def _cancel(self, session: Session, act: Act) -> float | None:
        with trio.move_on_after(act.moment) as scope:
            await session.run(act.plan, inputs=self.inputs)
        return scope.deadline if scope.cancelled_caught else None

    async def _exception(self, session: Session, act: Act) -> float | None:
        slipped = math.inf
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: session.run(act.plan, inputs=self.inputs))
                await trio.sleep(act.moment)
                slipped = trio.current_time()
                raise _SlipError
        except* _SlipError:
            pass
        return slipped

    async def _twins(self, session: Session, act: Act) -> float | None:
        first, second = (session.start(act.plan, inputs=self.inputs) for _ in range(2))
        await trio.sleep(act.moment)
        await self._abort_now(second, trio.current_time())
        await self._whole(first)
        return None

    async def _whole(self, execution: Execution) -> Any:
        with trio.move_on_after(PATIENCE) as scope:
            return await execution.wait()
        await self._abort_now(execution, self._late(scope.deadline))
        return None

    async def _abort_now(self, execution: Execution, now: float) -> float:
        execution.abort()
        with trio.move_on_after(FOREVER / 10):
            await execution.wait()
            return now
        raise AssertionError(f"{execution.id} was aborted, and has not ended {FOREVER / 10} s later")

    def _late(self, at: float) -> float:
        if not self.weather.speechless:
            self.broken.append(f"a run has not ended after {PATIENCE} s")
        self.endings.append(
            Ending(words="without an end until it was aborted: a block has no time-out", seconds=PATIENCE)
        )
        return at

    # What must hold.

    def _note(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.broken.append(otherwise)

    def _hear(self) -> Witness:
        envelopes = iter(self._feed.receive_nowait, None) if self._feed else ()
        self.witness.hear(envelope for envelope in envelopes if envelope)
        return self.witness

    def _all_quiet(self, session: Session, host: FakeHost) -> None:
        """After a while of fair weather without a run, every container sleeps, and really does."""
        for record in session.pool_status().containers:
            if record.phase != "dormant":
                self.broken.append(f"in fair weather, {record.name} is {record.phase}: {record.last_error}")
            elif record.name not in self.weather.deceived and host.names("paused").count(record.name) == 0:
                self.broken.append(f"{record.name} is called dormant, and is not asleep")
        self._note(host.running_blocks() == [], f"blocks run, though no run does: {host.running_blocks()}")

    def _nothing_left(self, host: FakeHost, named: set[str]) -> None:
        self._hear()
        for sentence in host.leftovers():
            if not any(word in named for word in sentence.split()):
                self.broken.append(f"left behind: {sentence}")
        for execution_id, told in self.witness.runs.items():
            self._note(told.ended is not None, f"{execution_id} has no end")


_OUTER = ("lost", "container", "plan-timeout", "timeout")


def _words(ended: Ended) -> str:
    """The status, and what was behind it, what has least to do with the blocks first."""
    reasons = {result.reason for result in ended.results if result.status == "failed"}
    if reasons <= {None, "sibling-failed", "aborted"}:
        return ended.status
    return f"{ended.status}: {next((reason for reason in _OUTER if reason in reasons), 'a block failed')}"
