"""What the tests of the simulated host share."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from warmlane.agent.protocol import BlockCall, LogLine
from warmlane.plan.model import Container
from warmlane.runtimes.fake import FakeRuntime
from warmlane.runtimes.protocol import Birth


@pytest.fixture
def birth() -> Callable[..., Birth]:
    """Makes births: of a container "a" in session "s1", if nothing else is said."""

    def make(name: str = "a", *, port: int | None = None, image: str | None = None, session: str = "s1") -> Birth:
        return Birth(
            name=name,
            container=Container(image=image),
            session_id=session,
            owner=f"{session}-owner",
            port=port,
            token="t",
        )

    return make


@pytest.fixture
def block_call() -> Callable[..., BlockCall]:
    """Makes calls of blocks, in their second attempt, with half a second between SIGTERM and SIGKILL."""

    def make(
        block_id: str = "b", run: str = "r1", *, execution: str = "e1", given: Any = None, limit: int = 1000
    ) -> BlockCall:
        return BlockCall(
            run=run,
            execution_id=execution,
            block_id=block_id,
            attempt=2,
            input=given,
            output_limit=limit,
            terminate_grace=0.5,
        )

    return make


@pytest.fixture
def unheard() -> Callable[[LogLine], None]:
    """Listens to a block that prints nothing."""

    def hear(line: LogLine) -> None:
        raise AssertionError(f"a block printed {line.text!r}")

    return hear


@pytest.fixture
def born(birth: Callable[..., Birth]) -> Callable[..., Awaitable[None]]:
    """Makes containers that run and are healthy: "a", if none is named."""

    async def make(runtime: FakeRuntime, *names: str) -> None:
        for name in names or ("a",):
            await runtime.create(birth(name))
            await runtime.start(name)
        await trio.sleep(runtime.host.pace.boot)

    return make


@pytest.fixture
def hung_up(unheard: Callable[[LogLine], None]) -> Callable[..., Awaitable[None]]:
    """Runs a block in "a", and breaks the connection after some seconds."""

    async def run(runtime: FakeRuntime, call: BlockCall, *, after: float = 1.0) -> None:
        with trio.move_on_after(after) as scope:
            await runtime.agent("a").run(call, unheard)
        assert scope.cancelled_caught

    return run


@pytest.fixture
def took() -> Callable[[], float]:
    """Seconds on Trio's clock since it was last asked, to the microsecond."""
    last = 0.0

    def seconds() -> float:
        nonlocal last
        since, last = last, trio.current_time()
        return round(last - since, 6)

    return seconds
