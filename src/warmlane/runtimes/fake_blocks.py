"""What the blocks of a simulated container do: plain functions of one `FakeCall`, sync or async.

A function's return value is the block's output, an exception its failure, `Killed` a death by signal. SIGTERM
arrives as cancellation; a function that means to survive it says so with `call.ignore_sigterm()`, since SIGKILL
goes through that and through no other shield.
"""

from __future__ import annotations

import inspect
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from signal import SIGKILL, SIGTERM, Signals
from typing import Any, Literal

import trio
from attrs import define, field, frozen

from warmlane.agent.protocol import BlockCall, Exit, LogLine, Response
from warmlane.wire import encode


@define
class FakeCall:
    """One block being run, as its function sees it."""

    container: str
    block_id: str
    execution_id: str
    attempt: int
    input: Any
    _run: Run = field(alias="run", repr=False)

    def log(self, text: str, stream: Literal["stdout", "stderr"] = "stdout") -> None:
        """Prints; each line arrives as one."""
        self._run.outbox.extend(LogLine(stream=stream, text=line) for line in text.splitlines() or [""])
        self._run.news()

    def ignore_sigterm(self) -> trio.CancelScope:
        """A scope in which SIGTERM does nothing; SIGKILL ends it."""
        return self._run.shield()


@frozen(kw_only=True)
class FakeRequest:
    """One request to the image's own service."""

    container: str
    method: str
    path: str
    headers: dict[str, str]
    body: Any


BlockFunction = Callable[[FakeCall], Any]
"""Sync or async; what it returns is the output."""

ServiceFunction = Callable[[FakeRequest], Response | Awaitable[Response]]


class Killed(Exception):  # noqa: N818  a way to end, no error of ours
    """Raised by a block's function: a signal killed it; with `oom`, the kernel did, for memory."""

    def __init__(self, signal: int = SIGKILL, *, oom: bool = False) -> None:
        self.signal, self.oom = signal, oom
        super().__init__(signal)


class Failed(Exception):  # noqa: N818  likewise
    """Raised by a block's function: it failed, with exactly this sentence and exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        self.code = code
        super().__init__(message)


def sleeps(seconds: float, output: Any = None) -> BlockFunction:
    """A block that takes so long, and then returns `output`."""

    async def function(_call: FakeCall) -> Any:
        await trio.sleep(seconds)
        return output

    return function


def fails(message: str, after: float = 0.0, code: int = 1) -> BlockFunction:
    """A block that fails after so many seconds."""

    async def function(_call: FakeCall) -> Any:
        await trio.sleep(after)
        raise Failed(message, code)

    return function


def ignores_sigterm(seconds: float, output: Any = None) -> BlockFunction:
    """A block that takes so long, SIGTERM or not; only SIGKILL ends it earlier."""

    async def function(call: FakeCall) -> Any:
        with call.ignore_sigterm():
            await trio.sleep(seconds)
        return output

    return function


def prints(lines: Iterable[str], output: Any = None, every: float = 0.0) -> BlockFunction:
    """A block that prints these lines, one each `every` seconds."""

    async def function(call: FakeCall) -> Any:
        for line in lines:
            call.log(line)
            await trio.sleep(every)
        return output

    return function


@define(eq=False)
class Run:
    """A block that runs in a simulated container, as the host sees it. `done` is set when no process is left."""

    call: BlockCall
    container: str
    news: Callable[[], object]
    outbox: deque[LogLine] = field(factory=deque[LogLine])
    exit: Exit | None = None
    done: trio.Event = field(factory=trio.Event)
    ending: bool = False
    _scope: trio.CancelScope = field(factory=trio.CancelScope)
    _shields: set[trio.CancelScope] = field(factory=set[trio.CancelScope])
    _signal: Signals = SIGTERM
    _oom: bool = False

    def terminate(self) -> None:
        """SIGTERM."""
        self._scope.cancel()

    def kill(self, *, oom: bool = False) -> None:
        """SIGKILL."""
        self._signal, self._oom = SIGKILL, oom
        self._scope.cancel()
        for shield in self._shields:
            shield.cancel()

    def shield(self) -> trio.CancelScope:
        """A scope that only SIGKILL ends."""
        scope = trio.CancelScope(shield=True)
        self._shields.add(scope)
        if self._signal == SIGKILL:
            scope.cancel()
        return scope

    async def perform(self, function: BlockFunction | None) -> None:
        """Runs the function to its end, and keeps how it ended."""
        try:
            self.exit = await self._perform(function)
        finally:
            self.done.set()
            self.news()

    async def _perform(self, function: BlockFunction | None) -> Exit:
        if self._scope.cancel_called:  # before its first step
            return _killed(self._signal, oom=self._oom)
        if function is None:
            return Exit(code=0)
        output: Any = None
        try:
            with self._scope:
                output = function(self._view())
                if inspect.isawaitable(output):
                    output = await output
        except Killed as death:
            return _killed(death.signal, oom=death.oom)
        except Failed as failure:
            return Exit(code=failure.code, error=str(failure), fault="error")
        except Exception as error:  # noqa: BLE001  a block may raise anything
            return Exit(code=1, error=f"{type(error).__name__}: {error}", fault="error")
        if self._scope.cancelled_caught or any(shield.cancelled_caught for shield in self._shields):
            return _killed(self._signal, oom=self._oom)
        return self._finished(output)

    def _view(self) -> FakeCall:
        call = self.call
        return FakeCall(
            container=self.container,
            block_id=call.block_id,
            execution_id=call.execution_id,
            attempt=call.attempt,
            input=json.loads(encode(call.input)),  # the way that it takes into a real container
            run=self,
        )

    def _finished(self, output: Any) -> Exit:
        if output is None:
            return Exit(code=0)
        try:
            document = encode(output)
        except (TypeError, ValueError) as error:
            return Exit(code=0, error=f"its output is not JSON: {error}", fault="bad-output")
        if (size := len(document.encode())) > self.call.output_limit:
            said = f"its output has {size} bytes, over the limit of {self.call.output_limit}"
            return Exit(code=0, error=said, fault="bad-output")
        return Exit(code=0, output=json.loads(document))


def _killed(signal: int, *, oom: bool) -> Exit:
    if oom:
        return Exit(signal=signal, error="it exceeded the memory limit of its container", fault="oom")
    return Exit(signal=signal, error=f"it was killed by {Signals(signal).name}", fault="signal")
