"""For your own tests: a session whose containers are simulated in memory, on Trio's clock.

    async def test_my_plan(autojump_clock):
        async with open_fake_session({"fetch": sleeps(30, output={"n": 3})}) as (session, host):
            report = await session.run(plan)
        assert report.status == "completed"

Everything above the containers is the real thing: plans, lanes, pool, events. A block does what the function named
after it does (sync or async, called with a `FakeCall`), or nothing. With `trio.testing.MockClock(autojump_threshold=0)`
hours pass at once. `host.orders.order(hangs(), "pause")` makes the next pause hang, `host.kill(name)` kills a
container, `host.leftovers()` says what still exists.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import trio

from warmlane.runtimes.fake import open_fake_runtime
from warmlane.runtimes.fake_blocks import (
    BlockFunction,
    Failed,
    FakeCall,
    FakeRequest,
    Killed,
    ServiceFunction,
    fails,
    ignores_sigterm,
    prints,
    sleeps,
)
from warmlane.runtimes.fake_box import INSTANT, ImageKind, Pace
from warmlane.runtimes.fake_faults import Call, Fault, fails_after, fails_before, ghost, hangs, lies, refused, slow
from warmlane.runtimes.fake_host import FakeHost
from warmlane.session import Session, open_session
from warmlane.settings import Settings

__all__ = [
    "EPOCH",
    "INSTANT",
    "Call",
    "Failed",
    "FakeCall",
    "FakeHost",
    "FakeRequest",
    "Fault",
    "Killed",
    "Pace",
    "fails",
    "fails_after",
    "fails_before",
    "ghost",
    "hangs",
    "ignores_sigterm",
    "lies",
    "open_fake_session",
    "prints",
    "refused",
    "sleeps",
    "slow",
]

EPOCH = 1_767_225_600.0
"""When a fake session begins, in seconds since the epoch: 2026-01-01, midnight in UTC."""


@asynccontextmanager
async def open_fake_session(
    blocks: Mapping[str, BlockFunction] | None = None,
    *,
    settings: Settings | None = None,
    pace: Pace | None = None,
    service: ServiceFunction | None = None,
    images: Mapping[str, ImageKind] | None = None,
) -> AsyncGenerator[tuple[Session, FakeHost]]:
    """A session and the simulated host beneath it. Its wall clock begins at `EPOCH` and goes as Trio's does.

    service answers `request` blocks (by default 200 and no body); images says which are not there or not well; pace,
    how long the host takes. Raises what `open_session` raises, and AssertionError if the host was used wrongly.
    """
    began = trio.current_time()
    async with (
        open_fake_runtime(blocks=blocks, service=service, images=images, pace=pace, blocks_at_once=None) as fake,
        open_session(fake, settings=settings, clock=lambda: EPOCH + trio.current_time() - began) as session,
    ):
        yield session, fake.host
