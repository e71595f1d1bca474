"""What users get for their own tests: the real session on simulated containers."""

import pytest
import trio
from trio.testing import MockClock

from warmlane import testing
from warmlane.settings import Settings
from warmlane.testing import FakeCall, fails, hangs, ignores_sigterm, open_fake_session, sleeps

PLAN = {
    "name": "release-check",
    "blocks": {"fetch": {"command": ["fetch"]}, "lint": {"command": ["lint"]}, "tests": {"python": "checks:tests"}},
    "lanes": ["fetch", {"blocks": ["lint", "tests"]}],
}


async def test_a_plan_runs_on_functions_in_no_time(autojump_clock: MockClock) -> None:
    """Blocks do what the function named after them does, and what they get is what the plan gives them."""

    def lint(call: FakeCall) -> object:
        call.log(f"linting {call.input['fetch']['ref']}")
        return {"findings": 0}

    blocks = {"fetch": sleeps(3600, output={"ref": "main"}), "lint": lint}
    async with open_fake_session(blocks) as (session, host):
        with session.events(whole=True) as feed:
            report = await session.run(PLAN)
        printed = []
        while (envelope := feed.receive_nowait()) is not None:
            if envelope.event.channel == "execution:block-log":
                printed.append(envelope.message["payload"]["text"])
    assert report.status == "completed"
    assert [(result.block_id, result.output) for result in report.results] == [
        ("fetch", {"ref": "main"}),
        ("lint", {"findings": 0}),
        ("tests", None),
    ]
    assert printed == ["linting main"]
    assert 3600 < report.duration < 3601
    assert host.leftovers() == []


async def test_wall_clock_follows_trios(autojump_clock: MockClock) -> None:
    autojump_clock.jump(5000)
    async with open_fake_session() as (session, _host):
        with session.events(after=0) as feed:
            await trio.sleep(90)
            await session.run(PLAN)
            first = await feed.receive()
    assert session.runtime == "fake"
    assert first.at == testing.EPOCH + 90
    assert first.message["at"] == "2026-01-01T00:01:30.000Z"


async def test_faults_can_be_ordered(autojump_clock: MockClock) -> None:
    """Containers that cannot be paused are replaced, and the next run notices nothing of it."""
    async with open_fake_session({"lint": fails("two findings")}) as (session, host):
        host.orders.order(hangs(), "pause", times=2)
        report = await session.run(PLAN)
        assert report.status == "failed"
        assert [result.error for result in report.results if result.reason == "error"] == ["two findings"]
        await trio.sleep(60)
        assert [call.kind for call, _fault in host.orders.made] == ["pause", "pause"]
        assert (await session.run({**PLAN, "lanes": ["fetch", "tests", "lint"]})).results[1].status == "succeeded"
    assert host.leftovers() == []


async def test_leaving_the_session_in_the_middle_leaves_nothing(autojump_clock: MockClock) -> None:
    blocks = {"fetch": ignores_sigterm(3600)}
    with trio.move_on_after(10):
        async with open_fake_session(blocks, settings=Settings(max_containers=2)) as (session, host):
            await session.run(PLAN)
    assert host.leftovers() == []
    assert trio.current_time() < 12


async def test_an_exception_of_the_test_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    async def body() -> None:
        async with open_fake_session() as (session, _host):
            await session.run({"name": "p"})

    with pytest.raises(ValueError, match="is not valid"):
        await body()


async def test_a_lane_may_share_one_container(autojump_clock: MockClock) -> None:
    async with open_fake_session({"lint": sleeps(1), "tests": sleeps(1)}) as (session, host):
        report = await session.run({**PLAN, "parallelismModel": "single-container"})
        assert report.status == "completed"
        assert len(host.asked("create")) == 1


def test_every_public_name_is_there() -> None:
    assert [name for name in testing.__all__ if not hasattr(testing, name)] == []
