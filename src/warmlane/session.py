"""A session: the life of one pool. Executions come and go in it; dormant containers are reused across them.

Leaving it, however, ends all its executions and removes every container; then its events end. Cancelling the body is
one way of leaving. What could not be confirmed gone is named in LeftBehindError, and found again by the next start.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any

import trio

from warmlane.bus import Bus, Feed
from warmlane.engine import Execution, Report
from warmlane.errors import LeftBehindError, PlanError, Problem, SessionClosedError, WarmlaneError
from warmlane.events import PoolStatus, SessionNotice
from warmlane.nursery import open_service_nursery
from warmlane.plan.check import check_plan
from warmlane.plan.inputs import bind_inputs
from warmlane.plan.model import WorkflowPlan
from warmlane.plan.paths import render
from warmlane.plan.read import read_plan
from warmlane.pool import Pool, open_pool
from warmlane.reaper.service import open_reaper
from warmlane.runtimes import choose_runtime, open_runtime
from warmlane.runtimes.owner import owner_label
from warmlane.runtimes.protocol import Runtime
from warmlane.runtimes.sweep import sweep
from warmlane.settings import Settings

_log = logging.getLogger(__name__)


class Session:
    """One pool and what runs on it. Made by `open_session`."""

    def __init__(
        self, session_id: str, runtime: Runtime, pool: Pool, bus: Bus, settings: Settings, nursery: trio.Nursery
    ) -> None:
        self.id = session_id
        self._runtime = runtime
        self._pool = pool
        self._bus = bus
        self._settings = settings
        self._nursery = nursery
        self._executions = 0

    @property
    def runtime(self) -> str:
        """Where its containers live: `docker`, `process`."""
        return self._runtime.kind

    async def run(self, plan: WorkflowPlan | Mapping[str, Any], *, inputs: Mapping[str, Any] | None = None) -> Report:
        """Runs a plan to its end, and reports; a failed run is a report, too, and no exception.

        Cancelling the scope around this call aborts the run: the Cancelled goes on when all blocks have settled.
        Raises PlanError before anything starts.
        """
        return await self._execution(plan, inputs).run()

    def start(self, plan: WorkflowPlan | Mapping[str, Any], *, inputs: Mapping[str, Any] | None = None) -> Execution:
        """Starts a plan beside the caller; the session owns the run and aborts it when it closes.

        The execution has `id`, `wait()` and `abort()`. Raises PlanError before anything starts.
        """
        execution = self._execution(plan, inputs)
        self._nursery.start_soon(execution.run, name=f"execution {execution.id}")
        return execution

    def events(self, *, after: int | None = None, whole: bool = False) -> AbstractContextManager[Feed]:
        """A feed of all events from now on (or behind number `after`), to iterate over inside the context.

        A feed that is too slow gets a `MonitorLost` event in place of what it missed; a `whole` one misses nothing
        and costs memory instead. It ends when the session has closed.
        """
        return self._bus.feed(after=after, whole=whole)

    def pool_status(self) -> PoolStatus:
        """All containers as they are now."""
        return self._pool.status()

    def hurry(self) -> None:
        """Cuts every grace: all containers are killed and removed now. The session is closed for new work."""
        self._pool.hurry()

    def _execution(self, plan: WorkflowPlan | Mapping[str, Any], inputs: Mapping[str, Any] | None) -> Execution:
        if self._pool.closed:
            raise SessionClosedError
        plan = _checked(plan)
        self._vet(plan)
        self._executions += 1
        return Execution(
            plan,
            bind_inputs(plan, inputs or {}),
            execution_id=f"{self.id}-e{self._executions}",
            runtime=self.runtime,
            pool=self._pool,
            bus=self._bus,
            settings=self._settings,
        )

    def _vet(self, plan: WorkflowPlan) -> None:
        """Raises PlanError for every block whose container this runtime cannot make."""
        verdicts: dict[str, str | None] = {}
        problems: list[Problem] = []
        for block_id in plan.blocks:
            container = plan.container_of(block_id)
            if container.key not in verdicts:
                verdicts[container.key] = self._runtime.vet(container)
            if (said := verdicts[container.key]) is not None:
                problems.append(Problem(render(("blocks", block_id)), said))
        if problems:
            raise PlanError(problems)


def _checked(plan: WorkflowPlan | Mapping[str, Any]) -> WorkflowPlan:
    if not isinstance(plan, WorkflowPlan):
        return read_plan(plan)
    if problems := check_plan(plan):
        raise PlanError(problems)
    return plan


@asynccontextmanager
async def open_session(
    runtime: str | Runtime = "auto",
    *,
    settings: Settings | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncGenerator[Session]:
    """Opens a session on a runtime: `docker`, `process`, or `auto` (docker if it answers, else process, which is said).

    What the owner of a session should know is published as a `SessionNotice`, and logged as a warning.

    A runtime may also be an open Runtime object, which then stays open. clock gives seconds since the epoch.
    Raises RuntimeUnavailableError if the runtime does not answer; on leaving, LeftBehindError if a container could not
    be confirmed gone (unless another exception is on its way). Should this process be killed, a second one, the
    session's reaper, removes its containers.
    """
    settings = settings or Settings()
    session_id, owner = secrets.token_hex(4), owner_label()
    bus = Bus(clock=clock)
    notice = None
    opened: AbstractAsyncContextManager[Runtime]
    if isinstance(runtime, str):
        choice = await choose_runtime(runtime)
        notice, opened = choice.notice, open_runtime(choice.kind, session_id=session_id, owner=owner)
    else:
        opened = nullcontext(runtime)

    def say(text: str) -> None:
        _log.warning("%s", text)
        bus.publish(SessionNotice(text=text))

    async with opened as host:
        if notice is not None:
            say(notice)
        try:
            async with (
                _guarded(host, session_id, say),
                _sweeping(host, settings, say),
                open_pool(host, bus, settings, session_id=session_id, owner=owner) as pool,
                open_service_nursery() as nursery,
            ):
                yield Session(session_id, host, pool, bus, settings, nursery)
        finally:
            bus.close()
        if pool.left_behind:
            raise LeftBehindError(pool.left_behind)


def _guarded(runtime: Runtime, session_id: str, say: Callable[[str], None]) -> AbstractAsyncContextManager[object]:
    """A reaper, where something could outlive this process."""
    if runtime.kind == "fake":
        return nullcontext()
    return open_reaper(runtime.kind, session_id=session_id, say=say)


@asynccontextmanager
async def _sweeping(runtime: Runtime, settings: Settings, say: Callable[[str], None]) -> AsyncGenerator[None]:
    """What ended sessions have left is removed beside the session's own work. When that is over, a removal under way
    has `Graces.settle` to come to its end; what is still there then, the next start tries."""
    scope, done = trio.CancelScope(shield=True), trio.Event()

    async def work() -> None:
        with scope:
            await _sweep(runtime, settings, say)
        done.set()

    async with open_service_nursery() as nursery:
        nursery.start_soon(work, name="sweep")
        try:
            yield
        finally:
            with trio.move_on_after(settings.graces.settle, shield=True):
                await done.wait()
            scope.cancel()


async def _sweep(runtime: Runtime, settings: Settings, say: Callable[[str], None]) -> None:
    try:
        swept = await sweep(runtime, settings.graces)
    except WarmlaneError as error:
        say(f"could not look for what ended sessions have left: {error}")
        return
    for name, why in swept.failed:
        say(f"could not remove {name}, which an ended session has left: {why}; 'warmlane gc' tries again")


async def run(
    plan: WorkflowPlan | Mapping[str, Any],
    *,
    inputs: Mapping[str, Any] | None = None,
    runtime: str | Runtime = "auto",
    settings: Settings | None = None,
) -> Report:
    """Runs one plan in a session of its own; see `Session.run` and `open_session`.

    Without settings, the pool's cap is the plan's `max_containers`.
    """
    plan = _checked(plan)
    settings = settings or Settings(max_containers=plan.max_containers)
    async with open_session(runtime, settings=settings) as session:
        return await session.run(plan, inputs=inputs)
