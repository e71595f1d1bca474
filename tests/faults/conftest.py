"""Plans of every shape, and one course of a session with exactly one thing going wrong in it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Literal

import pytest
import trio
from attrs import define, field, frozen

from warmlane.bus import Feed
from warmlane.errors import LeftBehindError
from warmlane.plan.model import Block, Container, ParallelLane, WorkflowPlan
from warmlane.records import RunStatus
from warmlane.runtimes.fake_blocks import BlockFunction, fails, ignores_sigterm, sleeps
from warmlane.runtimes.fake_faults import Call, Fault, Kind
from warmlane.runtimes.fake_host import FakeHost, open_fake_host
from warmlane.runtimes.sweep import sweep
from warmlane.session import Session, open_session
from warmlane.settings import Settings
from warmlane.simulation.host import WatchedRuntime
from warmlane.simulation.one import LEAVING, PATIENCE, QUIET, SETTLING
from warmlane.simulation.seeding import run_seeded
from warmlane.simulation.witness import Witness, says_it_all

Way = Literal["abort", "scope", "exception", "session"]


@frozen(kw_only=True)
class Golden:
    """A plan, what its blocks do, and how it ends when nothing goes wrong."""

    plan: WorkflowPlan
    blocks: dict[str, BlockFunction]
    cap: int = 10
    ends: RunStatus = "completed"


def _golden(*lanes: Any, cap: int = 10, ends: RunStatus = "completed", blocks: Any = None, **more: Any) -> Golden:
    whole = tuple(lane if isinstance(lane, ParallelLane) else ParallelLane(blocks=lane) for lane in lanes)
    ids = [block_id for lane in whole for block_id in lane.blocks]
    given = {block_id: more.pop(block_id, Block(command=("true",))) for block_id in ids}
    plan = WorkflowPlan(name="golden", lanes=whole, blocks=given, container=Container(image="img"), **more)
    return Golden(plan=plan, blocks={"a": sleeps(0.2), **(blocks or {})}, cap=cap, ends=ends)


OTHER = Block(command=("x",), container=Container(image="other"))

GOLDEN = {
    "sequential": _golden(["a"], ["b"], ["c"], blocks={"b": sleeps(0.3, {"n": 1})}),
    "wide": _golden(["a"], ["b", "c", "d", "e"], ["f"], cap=3, blocks={"c": ignores_sigterm(0.7), "d": sleeps(0.4)}),
    "lenient": _golden(["a", "b", "c"], ["d"], failure_mode="lenient", blocks={"b": fails("no", after=0.1)}),
    "strict": _golden(["a", "b", "c"], ["d"], ends="failed", blocks={"b": fails("no", 0.1), "c": ignores_sigterm(9)}),
    "single-container": _golden(["a", "b", "c"], ["d"], parallelism_model="single-container"),
    "time-outs": _golden(
        ["a", "b"], ["c"], failure_mode="lenient", b=Block(command=("x",), timeout=0.1), blocks={"b": sleeps(9)}
    ),
    "two-kinds": _golden(["a", "b"], ["c", "d"], cap=1, b=OTHER, d=OTHER),
}


class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks; at one of them, something happens."""

    def __init__(self, at: int | None) -> None:
        self.taken = 0
        self.at = at
        self.then: Callable[[], object] = lambda: None

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.taken += 1
        if self.taken == self.at:
            self.then()


class SlipError(Exception):
    """Raised in the caller's body."""


@define
class Course:
    """One session: a run in which one thing happens, another that must be as if nothing had been, and its end."""

    golden: Golden
    number: int | None = None
    """Which call meets the fault."""
    fault: Callable[[Call], Fault | None] = lambda _: None
    """What it meets; None if that call can meet nothing of the kind."""
    misled: Kind | None = None
    """A call of this kind that meets it tells the engine of a container that it is gone, and so may leave it behind."""
    way: Way | None = None
    """How it is ended from outside, and ..."""
    step: int | None = None
    """... at which step of a task."""
    broken: list[str] = field(factory=list[str])
    met: Call | None = None
    """The call that met the fault, ..."""
    made: Fault | None = None
    """... and what that was."""
    believed_gone: set[str] = field(factory=set[str])
    calls: int = 0
    steps: int = 0
    """The steps from the start of the run (of the session, if that is cancelled) until it had ended."""
    cut_at: float | None = None

    def play(self) -> Course:
        """Plays it, the same way each time."""
        run_seeded(self._perform, "golden")
        return self

    async def _perform(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._break_off)
            with ExitStack() as stack:
                await self._on_host(stack)
            nursery.cancel_scope.cancel()

    async def _break_off(self) -> None:
        await trio.sleep(10 * PATIENCE)

        def crash() -> None:
            raise AssertionError(f"something hangs behind a shield: {self}")

        trio.lowlevel.current_trio_token().run_sync_soon(crash)

    def _faults(self, call: Call) -> Fault | None:
        if call.number != self.number:
            return None
        self.met = call
        self.made = self.fault(call)
        if self.made is not None and call.kind == self.misled:
            self.believed_gone.add(call.name)
        return self.made

    async def _on_host(self, stack: ExitStack) -> None:
        golden = self.golden
        alone = golden.plan.parallelism_model == "multi-container"
        witness = Witness(golden.cap)
        async with open_fake_host(blocks=golden.blocks, blocks_at_once=1 if alone else None) as host:
            runtime = WatchedRuntime(host, golden.cap, self.believed_gone, self._faults)
            before = trio.lowlevel.current_statistics().tasks_living
            steps = Steps(self.step)
            whole = trio.CancelScope()
            if self.way == "session":
                steps.then = lambda: self._cut(whole.cancel)
                trio.lowlevel.add_instrument(steps)
            left_at = trio.current_time()
            named = False
            try:
                with whole:
                    async with open_session(
                        runtime, settings=Settings(max_containers=golden.cap), clock=trio.current_time
                    ) as session:
                        feed = stack.enter_context(session.events(whole=True))
                        try:
                            await self._runs(session, host, feed, witness, steps)
                        finally:
                            left_at = self.cut_at or trio.current_time()
            except LeftBehindError as error:
                named = True
                self._note(set(error.names) <= self._excused(), f"{error.names} were left behind")
            if self.way == "session":
                trio.lowlevel.remove_instrument(steps)
                self.steps = steps.taken
            self._note(trio.current_time() - left_at <= LEAVING, "leaving took too long")
            if self.number is not None:
                await trio.sleep(QUIET)
            if named:
                for found in host.found():
                    await sweep(runtime, ended=found.session_id)  # as the next session does at its start
            left_behind = self._left_behind(host)
            self._note(left_behind == [], f"left behind: {left_behind}")
            await trio.testing.wait_all_tasks_blocked()
            left = trio.lowlevel.current_statistics().tasks_living - before
            self._note(left <= 0, f"{left} tasks are left")
            self.calls = len(host.calls)
        self.broken.extend(witness.broken)

    def _excused(self) -> set[str]:
        """A create or start that hangs cannot be cut: the session may be left before the host has answered."""
        hung = self.met and self.made and self.made.hangs and self.met.kind in ("create", "start")
        return {self.met.name} if self.met and hung else set()

    def _left_behind(self, host: FakeHost) -> list[str]:
        """What has been believed gone is excused, if it was asked to go."""
        gone = tuple(f"container {name} is " for name in self.believed_gone if host.asked("remove", name=name))
        return [what for what in host.leftovers() if not what.startswith(gone)]

    async def _runs(self, session: Session, host: FakeHost, feed: Feed, witness: Witness, steps: Steps) -> None:
        if self.way in (None, "session"):
            await self._whole(session)
        else:
            await self._cut_short(session, steps)
        witness.hear(envelope for envelope in iter(feed.receive_nowait, None) if envelope)
        self._settled(session, host, witness)
        met = self.met
        status = await self._whole(session)
        if met is self.met:  # the fault was met before, or is still to come
            self._note(status == self.golden.ends, f"the next run was {status}")

    async def _whole(self, session: Session) -> str | None:
        with trio.move_on_after(PATIENCE):
            report = await session.run(self.golden.plan)
            if self.met is None:
                self._note(report.status == self.golden.ends, f"without a fault it was {report.status}")
            return report.status
        mute = self.met is not None and self.met.kind == "run"
        self._note(mute, f"the run has not ended by itself within {PATIENCE} s")
        return None

    def _cut(self, cut: Callable[[], object]) -> None:
        self.cut_at = trio.current_time()
        cut()

    async def _cut_short(self, session: Session, steps: Steps) -> None:
        """Counts steps while the run lasts, and ends it at one."""
        plan = self.golden.plan
        trio.lowlevel.add_instrument(steps)
        if self.way == "abort":
            execution = session.start(plan)
            steps.then = lambda: self._cut(execution.abort)
            await execution.wait()
        elif self.way == "scope":
            with trio.CancelScope() as scope:
                steps.then = lambda: self._cut(scope.cancel)
                await session.run(plan)
        else:
            slip = trio.Event()
            steps.then = lambda: self._cut(slip.set)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._run_to_its_end, session, slip)
                    await slip.wait()
                    raise SlipError
            except* SlipError:
                pass
        trio.lowlevel.remove_instrument(steps)
        self.steps = steps.taken

    async def _run_to_its_end(self, session: Session, slip: trio.Event) -> None:
        await session.run(self.golden.plan)
        slip.set()

    def _settled(self, session: Session, host: FakeHost, witness: Witness) -> None:
        """What must hold the moment that the run has returned or raised."""
        for execution_id in witness.runs:
            ended = witness.ended(execution_id)
            if ended is None:
                self.broken.append(f"{execution_id} has ended without a word")
                continue
            self.broken.extend(says_it_all(self.golden.plan, ended, alone=True))
            if self.cut_at is None:
                continue
            self._note(ended.status in ("aborted", self.golden.ends), f"it was cancelled, and called {ended.status}")
            self._note(trio.current_time() - self.cut_at <= 1, f"{trio.current_time() - self.cut_at} s until settled")
        ends = [end for run in witness.runs.values() if run.ended for end in run.ended.receipt.containers]
        given_up = {end.name for end in ends if end.ended == "quarantined"}
        running = [run.call.block_id for run in host.running() if run.container not in given_up]
        self._note(running == [], f"the run has ended, and {running} run on")
        held = [record.name for record in session.pool_status().containers if record.phase == "running"]
        self._note(held == [], f"the run has ended, and {held} are held")
        self._note(session.pool_status().waiting == 0, "a place in line is left")
        if self.cut_at is not None and self.number is None:
            self._note(trio.current_time() - self.cut_at < SETTLING, "it took too long to settle")

    def _note(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.broken.append(otherwise)


@pytest.fixture(params=GOLDEN)
def golden(request: pytest.FixtureRequest) -> Golden:
    """Each plan in its turn."""
    return GOLDEN[request.param]


@pytest.fixture
def play() -> Callable[..., Course]:
    """`play(golden, number=k, fault=...)`, or `play(golden, way=..., step=k)`."""
    return lambda golden, **more: Course(golden, **more).play()
