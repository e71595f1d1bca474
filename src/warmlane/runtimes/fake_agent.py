"""The agent in a simulated container: `agent/protocol.Agent`, played in memory."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import trio

from warmlane.agent.protocol import BlockCall, Exit, LogLine, Response
from warmlane.errors import ContainerLostError
from warmlane.runtimes.fake_blocks import FakeRequest, Run
from warmlane.runtimes.fake_box import Box
from warmlane.runtimes.fake_faults import Kind
from warmlane.runtimes.fake_host import FakeHost

T = TypeVar("T")


class FakeAgent:
    """The way to one container's agent; holds nothing open."""

    def __init__(self, host: FakeHost, name: str) -> None:
        self._host = host
        self._name = name

    async def health(self) -> None:
        """As the protocol says."""
        await self._ask("health", lambda: None)

    async def run(self, call: BlockCall, on_log: Callable[[LogLine], None]) -> Exit:
        """As the protocol says. A cancellation leaves in a group, as it does from the libraries of the real one."""
        lost: ContainerLostError | None = None
        exited: Exit | None = None
        async with trio.open_nursery():
            try:
                exited = await self._run(call, on_log)
            except ContainerLostError as error:
                lost = error
        if exited is not None:
            return exited
        assert lost is not None
        raise lost

    async def _run(self, call: BlockCall, on_log: Callable[[LogLine], None]) -> Exit:
        run: Run | None = None

        def begin() -> Exit:
            nonlocal run
            run = self._host.begin(self._box(), call)
            return Exit()

        try:
            exit_ = await self._ask("run", begin)
            return exit_ if run is None else await self._follow(run, on_log)
        finally:
            if run is not None:
                self._host.end_soon(run)  # hung up

    async def _follow(self, run: Run, on_log: Callable[[LogLine], None]) -> Exit:
        while True:
            box = self._box()
            if box.speaks:
                while run.outbox:
                    on_log(run.outbox.popleft())
                if run.exit is not None:
                    return run.exit
            await box.changed.park()

    async def end(self, run: str) -> None:
        """As the protocol says."""

        def end() -> Run | None:
            running = self._box().runs.get(run)
            if running is not None:
                self._host.end_soon(running)
            return running

        if (running := await self._ask("end", end)) is not None:
            await running.done.wait()
            await self._reach()

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> Response:
        """As the protocol says; answered by the host's `service`."""
        asked = FakeRequest(container=self._name, method=method, path=path, headers=dict(headers), body=body)
        response = await self._ask("request", lambda: self._host.service(asked))
        if inspect.isawaitable(response):
            response = await response
            await self._reach()
        return response

    async def _ask(self, kind: Kind, act: Callable[[], T]) -> T:
        return await self._host.perform(kind, self._name, self._host.pace.agent, act, ready=self._reach)

    def _box(self) -> Box:
        box = self._host.box(self._name)
        if not box.up or box.healthy_at > trio.current_time():
            raise ContainerLostError(self._name, "its agent cannot be reached")
        return box

    async def _reach(self) -> None:
        """Returns once it answers: a frozen or silent container accepts, and keeps us waiting."""
        while not (box := self._box()).speaks:
            await box.changed.park()
