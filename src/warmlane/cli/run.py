"""`warmlane run`: a session, its executions one after the other, and what a person or a program sees of them.

Whatever ends a run (its end, a signal, a stdout that breaks), the session is left in the common way, so nothing of it
remains; then what is still to be printed gets its time, and only then the process ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import trio
from attrs import frozen

from warmlane.cli import exits
from warmlane.cli.faces import open_face
from warmlane.cli.outlet import Outlet
from warmlane.cli.relay import relay_warnings
from warmlane.cli.stdout import is_gone
from warmlane.cli.stopping import Stopping
from warmlane.errors import PlanError, WarmlaneError
from warmlane.nursery import open_service_nursery
from warmlane.plan.model import WorkflowPlan
from warmlane.session import Session, open_session
from warmlane.settings import Settings


@frozen(kw_only=True)
class Order:
    """What the command line asks for, checked."""

    plan: WorkflowPlan
    source: str
    """What to call the plan in errors."""
    inputs: Mapping[str, Any]
    runtime: str
    settings: Settings
    as_json: bool
    monitor: tuple[str, int] | None
    repeat: int


def run_order(order: Order) -> int:
    """Runs it, and returns the exit code."""
    return trio.run(_Run(order).go)


class _Run:
    def __init__(self, order: Order) -> None:
        self.order = order
        self.codes: list[int] = []
        self.stopping = Stopping(self.tell)
        self.out = Outlet(1, on_broken=self.on_broken_stdout)
        self.err = Outlet(2)
        self.face = open_face(self.out, self.err, as_json=order.as_json)
        self.shown = trio.Event()

    async def go(self) -> int:
        async with open_service_nursery() as nursery:
            for service in (self.out.pump, self.err.pump, self.face.keep_fresh):
                nursery.start_soon(service)
            await nursery.start(self.stopping.watch)
            with self.face, relay_warnings(self.tell):
                try:
                    with self.stopping.opening:
                        await self.in_session(nursery)
                except PlanError as error:  # what only the runtime could know
                    self.codes.append(exits.USAGE)
                    self.tell(exits.sentence(PlanError(error.problems, source=self.order.source)))
                except WarmlaneError as error:
                    self.codes.append(exits.code_of_error(error))
                    self.tell(exits.sentence_of_run(error))
                if self.stopping.session is not None:
                    with self.stopping.flushing():
                        await self.shown.wait()
            with self.stopping.flushing():
                await self.out.flush()
                await self.err.flush()
        if self.stopping.wished and len(self.codes) < self.order.repeat:
            self.codes.append(exits.ABORTED)
        return exits.gravest(self.codes)

    async def in_session(self, nursery: trio.Nursery) -> None:
        async with AsyncExitStack() as stack:
            monitor = None
            if self.order.monitor is not None:  # first, so that a port in use stops us before anything starts
                from warmlane.monitor.server import serve_monitor  # many a run does without

                monitor = await stack.enter_async_context(serve_monitor(None, *self.order.monitor))
            session = await stack.enter_async_context(open_session(self.order.runtime, settings=self.order.settings))
            await nursery.start(self.show, session)
            self.stopping.session = session
            if monitor is not None:
                monitor.show(session)
                self.tell(f"watch this run with 'warmlane monitor {monitor.url}'")
            for _ in range(self.order.repeat):
                if self.stopping.wished:
                    break
                execution = session.start(self.order.plan, inputs=self.order.inputs)
                self.stopping.execution = execution
                report = await execution.wait()
                self.codes.append(exits.code_of_status(report.status))

    async def show(self, session: Session, task_status: trio.TaskStatus[None]) -> None:
        with session.events(after=0, whole=True) as feed:  # what was said while it opened, too
            self.face.begin(session)
            task_status.started()
            async for envelope in feed:
                self.face.take(envelope)
                await self.out.room()
        self.shown.set()

    def tell(self, text: str) -> None:
        self.face.notice(text)

    def on_broken_stdout(self, error: OSError) -> None:
        if not is_gone(error):
            self.codes.append(exits.FAILED)
            self.tell(f"cannot write to stdout: {error.strerror}")
        self.stopping.stop()
