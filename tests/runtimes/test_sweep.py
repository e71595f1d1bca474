"""Sweeping when removals do not go as they should; the rest is in the contract of the runtimes."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from warmlane.errors import RuntimeSilentError
from warmlane.plan.model import Container
from warmlane.runtimes import sweep as sweep_module
from warmlane.runtimes.fake import FakeRuntime, open_fake_runtime
from warmlane.runtimes.fake_faults import fails_before, hangs
from warmlane.runtimes.protocol import Birth
from warmlane.runtimes.sweep import Swept, sweep
from warmlane.settings import Graces


@pytest.fixture(autouse=True)
def owners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here an owner says itself whether it is dead."""
    monkeypatch.setattr(sweep_module, "owner_is_dead", lambda label: label == "dead")


async def containers(runtime: FakeRuntime, **owners: str) -> None:
    for name, owner in owners.items():
        container = Container(image="x", transport="unix")
        await runtime.create(Birth(name=name, container=container, session_id="s", owner=owner, token="t"))


async def test_what_cannot_be_removed_is_named_with_the_reason(autojump_clock: MockClock) -> None:
    async with open_fake_runtime() as runtime:
        await containers(runtime, stuck="dead", broken="dead", fine="dead", mine="alive")
        runtime.host.orders.order(hangs(), "remove", name="stuck")
        runtime.host.orders.order(fails_before(), "remove", name="broken")
        began = trio.current_time()
        swept = await sweep(runtime, Graces(remove=2.0))
        assert trio.current_time() - began == pytest.approx(2.0, abs=0.1)
        assert swept.removed == ("fine",)
        assert swept.kept == ("mine",)
        assert dict(swept.failed) == {
            "stuck": "its removal was not confirmed within 2 seconds",
            "broken": "no answer to 'remove broken': the connection was reset",
        }


async def test_what_a_session_left_when_it_ended_goes_though_its_owner_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_fake_runtime() as runtime:
        await containers(runtime, left="alive", mine="alive", unknown="")
        found = [evolve(one, abandoned=one.name == "left") for one in await runtime.owned()]
        monkeypatch.setattr(runtime.host, "found", lambda: found)
        assert await sweep(runtime) == Swept(removed=("left",), kept=("mine", "unknown"))
        assert runtime.host.names() == ["mine", "unknown"]


async def test_nothing_to_sweep() -> None:
    async with open_fake_runtime() as runtime:
        assert await sweep(runtime) == Swept()


async def test_a_host_that_cannot_be_asked_is_the_caller_s_to_know() -> None:
    async with open_fake_runtime() as runtime:
        runtime.host.orders.order(fails_before(), "owned")
        with pytest.raises(RuntimeSilentError):
            await sweep(runtime)
