"""What the reaper does when the host does not do its part, on a simulated one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from warmlane.plan.model import Container
from warmlane.reaper import __main__ as reaper
from warmlane.reaper.__main__ import BOUND, LOOK, PAUSES, reap
from warmlane.runtimes.fake import FakeRuntime, open_fake_runtime
from warmlane.runtimes.fake_faults import Fault, fails_before, hangs
from warmlane.runtimes.fake_host import FakeHost
from warmlane.runtimes.protocol import Birth
from warmlane.settings import Graces

GRACES = Graces(remove=5.0)
USUAL = sum(PAUSES)


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[FakeHost]:
    """The host that the reaper finds, with a container of the dead session and one of another."""
    async with open_fake_runtime() as fake:

        @asynccontextmanager
        async def opened(kind: str, **_more: str) -> AsyncGenerator[FakeRuntime]:
            assert kind == "fake"
            yield fake

        monkeypatch.setattr(reaper, "open_runtime", opened)
        for name, session_id in (("left", "dead"), ("other", "alive")):
            container = Container(image="x", transport="unix")
            fake.host.add(Birth(name=name, container=container, session_id=session_id, owner="o", token="t"))
        yield fake.host
        assert "other" in fake.host.names()


async def reaped() -> tuple[list[str], float]:
    """What it says, and how many seconds it takes."""
    said: list[str] = []
    began = trio.current_time()
    await reap("fake", "dead", GRACES, said.append)
    return said, trio.current_time() - began


async def test_where_all_goes_well_it_says_nothing_and_looks_a_few_times(
    autojump_clock: MockClock, host: FakeHost
) -> None:
    said, took = await reaped()
    assert said == []
    assert USUAL <= took < USUAL + 1
    assert len(host.asked("owned")) == len(PAUSES)
    assert host.names() == ["other"]


async def test_a_removal_that_fails_is_said_once_and_tried_again_until_it_succeeds(
    autojump_clock: MockClock, host: FakeHost
) -> None:
    """More often than it would look if all went well."""
    host.orders.order(fails_before(), "remove", times=len(PAUSES) + 2)
    said, took = await reaped()
    assert said == ["could not remove left: no answer to 'remove left': the connection was reset"]
    assert USUAL + 2 * PAUSES[-1] <= took < USUAL + 4 * PAUSES[-1]
    assert host.names() == ["other"]


async def test_each_reason_is_said(autojump_clock: MockClock, host: FakeHost) -> None:
    host.orders.order(fails_before(), "owned")
    host.orders.order(fails_before(), "remove")
    host.orders.order(hangs(), "remove")
    said, _ = await reaped()
    assert said == [
        "could not look for what is left: no answer to 'list the containers': the connection was reset",
        "could not remove left: no answer to 'remove left': the connection was reset",
        "could not remove left: its removal was not confirmed within 5 seconds",
    ]
    assert host.names() == ["other"]


async def test_a_list_that_never_comes_is_asked_for_again(autojump_clock: MockClock, host: FakeHost) -> None:
    host.orders.order(hangs(), "owned")
    said, took = await reaped()
    assert said == ["could not look for what is left: no answer within 15 seconds"]
    assert LOOK + USUAL <= took < LOOK + USUAL + 1
    assert host.names() == ["other"]


@pytest.mark.parametrize("fault", [fails_before(), hangs()], ids=["broken", "hangs"])
async def test_it_ends_all_the_same_and_says_so(autojump_clock: MockClock, host: FakeHost, fault: Fault) -> None:
    host.orders.order(fault, "remove", times=1000)
    said, took = await reaped()
    assert BOUND <= took < BOUND + 1
    assert len(said) == 2
    assert said[-1] == "given up after 60 seconds: run 'warmlane gc', or start another session"
    assert host.names() == ["left", "other"]
