"""Lanes: fan-out, fan-in, what passes from one to the next, and both failure modes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from warmlane.agent.protocol import Response
from warmlane.events import BlockFailed, BlockStarted, ContainerStateChanged, LaneCompleted, LaneStarted
from warmlane.plan.model import Block, Container, Input, ParallelLane, Request, WorkflowPlan
from warmlane.runtimes.fake_blocks import Failed, FakeCall, FakeRequest, Killed, fails, ignores_sigterm, prints, sleeps
from warmlane.runtimes.fake_box import Pace
from warmlane.runtimes.fake_faults import fails_after
from warmlane.settings import Settings

if TYPE_CHECKING:
    from tests.engine.conftest import Stage

Open = Callable[..., "AbstractAsyncContextManager[Stage]"]
Plan = Callable[..., WorkflowPlan]


async def test_fan_out_and_fan_in(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    """Three blocks at once; the next lane begins when the slowest has ended, and the early ones sleep meanwhile."""
    seen: dict[str, Any] = {}

    def after(call: FakeCall) -> None:
        seen.update(call.input)

    blocks = {"a": sleeps(1, 1), "b": sleeps(3, 2), "c": sleeps(2, 3), "d": after}
    async with stage(blocks) as it, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def look() -> None:
            await it.until(lambda: len(it.heard(BlockStarted)) == 3)
            await trio.sleep(1.6)
            assert sorted(it.phases()) == ["dormant", "running", "running"]
            assert it.heard(LaneCompleted) == []

        report = await it.run(plan(("a", "b", "c"), "d"))
        assert report.status == "completed"
        assert report.outputs == {"a": 1, "b": 2, "c": 3, "d": None}
        assert seen == {"a": 1, "b": 2, "c": 3}
        assert list(seen) == ["a", "b", "c"], "in declared order, not in order of arrival"
        assert 3 <= report.duration < 3.5
        first, second = it.heard(LaneStarted)
        assert (first.lane, first.block_ids, first.failure_mode) == (0, ("a", "b", "c"), "strict")
        assert second.block_ids == ("d",)
        done = it.heard(LaneCompleted)[0]
        assert [result.status for result in done.results] == ["succeeded"] * 3
        assert [round(result.duration or 0) for result in done.results] == [1, 3, 2]
        assert done.launch_spread is not None
        assert done.launch_spread < 0.2


async def test_strict_failure_cancels_siblings_and_ends_the_run(
    autojump_clock: MockClock, stage: Open, plan: Plan
) -> None:
    blocks = {"a": sleeps(100), "b": fails("no", after=1), "c": sleeps(100)}
    async with stage(blocks) as it:
        report = await it.run(plan(("a", "b", "c"), "d", ("e", "f")))
        assert report.status == "failed"
        assert {result.block_id: (result.status, result.reason) for result in report.results} == {
            "a": ("failed", "sibling-failed"),
            "b": ("failed", "error"),
            "c": ("failed", "sibling-failed"),
            "d": ("skipped", "earlier-failure"),
            "e": ("skipped", "earlier-failure"),
            "f": ("skipped", "earlier-failure"),
        }
        assert report["b"].error == "no"
        assert report.duration < 2
        assert it.host.running_blocks() == []
        assert {failed.block_id: failed.error for failed in it.heard(BlockFailed)}["b"] == "no"
        assert len(it.heard(LaneStarted)) == 1
        await it.until(lambda: it.phases() == ["dormant"] * 3)


async def test_strict_reacts_to_whatever_says_failed(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    """A signal, a time-out, bad output, an exception: all are failures."""

    def crash(_call: FakeCall) -> None:
        raise LookupError("gone")

    def killed(_call: FakeCall) -> None:
        raise Killed(9)

    ways: dict[str, tuple[Any, str]] = {
        "crash": (crash, "error"),
        "killed": (killed, "signal"),
        "nan": (lambda _call: float("nan"), "bad-output"),
        "large": (lambda _call: "x" * 5000, "bad-output"),
        "late": (sleeps(50), "timeout"),
    }
    settings = Settings(output_limit=1000)
    async with stage({name: way for name, (way, _) in ways.items()} | {"b": sleeps(100)}, settings=settings) as it:
        for name, (_, reason) in ways.items():
            late = Block(command=("true",), timeout=1.0)
            report = await it.run(plan((name, "b"), "next", **{name: late}))
            assert report.status == "failed"
            assert (report[name].status, report[name].reason) == ("failed", reason)
            assert report["b"].reason == "sibling-failed"
            assert report["next"].reason == "earlier-failure"


async def test_sequential_failure_stops_later_lanes(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async with stage({"a": fails("no")}) as it:
        report = await it.run(plan("a", "b"))
        assert report.status == "failed"
        assert [result.reason for result in report.results] == ["error", "earlier-failure"]
        assert [done.results[0].status for done in it.heard(LaneCompleted)] == ["failed"]


async def test_lenient_collects_all_and_goes_on_with_what_it_has(
    autojump_clock: MockClock, stage: Open, plan: Plan
) -> None:
    seen: list[Any] = []
    blocks = {
        "a": sleeps(2, "A"),
        "b": fails("no", after=1),
        "c": sleeps(2, "C"),
        "d": lambda call: seen.append(call.input),
    }
    async with stage(blocks) as it:
        report = await it.run(plan(("a", "b", "c"), "d", failure_mode="lenient"))
        assert report.status == "completed"
        assert [result.status for result in report.results] == ["succeeded", "failed", "succeeded", "succeeded"]
        assert [result.block_id for result in report.failures] == ["b"]
        assert seen == [{"a": "A", "c": "C"}]
        assert [result.status for result in it.heard(LaneCompleted)[0].results] == ["succeeded", "failed", "succeeded"]
        assert [failed.block_id for failed in it.heard(BlockFailed)] == ["b"]


async def test_lane_overrides_the_plans_failure_mode(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async with stage({"a": fails("no"), "c": fails("no")}) as it:
        lenient = ParallelLane(blocks=("a", "b"), failure_mode="lenient")
        report = await it.run(plan(lenient, "c", "d"))
        assert report.status == "failed"
        assert [result.status for result in report.results] == ["failed", "succeeded", "failed", "skipped"]


async def test_all_of_a_lenient_lane_may_fail(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    seen: list[Any] = []
    blocks = {"a": fails("x"), "b": fails("y"), "c": lambda call: seen.append(call.input)}
    async with stage(blocks) as it:
        report = await it.run(plan(("a", "b"), "c", failure_mode="lenient"))
        assert report.status == "completed"
        assert seen == [{}]


async def test_inputs_picks_and_constants(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    """`from` picks out of inputs and any earlier output, `input` lies on top; else the lane before, merged."""
    seen: dict[str, Any] = {}

    def keep(call: FakeCall) -> None:
        seen[call.block_id] = call.input

    async with stage({"a": lambda _call: {"n": [1, 2]}, "b": lambda _call: "B", "c": keep, "d": keep}) as it:
        picks = Block(command=("true",), from_={"second": "a.n[1]", "who": "inputs.who"}, input={"who": "me", "k": 1})
        constant = Block(command=("true",), input={"b": "mine"})
        await it.run(plan("a", "b", ("c", "d"), c=picks, d=constant, inputs={"who": Input()}), who="you")
        assert seen == {"c": {"second": 2, "who": "me", "k": 1}, "d": {"b": "mine"}}


async def test_input_that_cannot_be_made_fails_that_block(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async with stage({"a": lambda _call: "text"}) as it:
        bad = Block(command=("true",), from_={"n": "sum(a)"})
        report = await it.run(plan("a", ("b", "c"), b=bad, failure_mode="lenient"))
        assert (report["b"].status, report["b"].reason) == ("failed", "bad-input")
        assert report["c"].status == "succeeded"
        assert report["b"].container_id is None


async def test_logs_arrive_before_the_result(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async with stage({"a": prints(["one", "two"], every=0.1)}) as it:
        await it.run(plan("a"))
        channels = [envelope.message["channel"] for envelope in it.read() if envelope.execution_id]
        texts = [envelope.message["payload"]["text"] for envelope in it.read() if "log" in envelope.event.channel]
        assert texts == ["one", "two"]
        assert channels.index("execution:block-start") < channels.index("execution:block-log")
        assert channels.index("execution:block-complete") > channels.index("execution:block-log")


async def test_plan_never_has_more_containers_than_allowed(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    """Fewer than the pool's cap; all blocks run all the same."""
    names = [f"b{number}" for number in range(9)]
    async with stage({name: sleeps(1, name) for name in names}) as it:
        report = await it.run(plan(tuple(names), max_containers=2))
        assert list(report.outputs.values()) == names
        assert len(it.host.asked("create")) == 2
        assert report.duration > 4


async def test_prewarming_begins_at_once_beside_earlier_lanes(
    autojump_clock: MockClock, stage: Open, plan: Plan
) -> None:
    """As many as the widest lane needs are there when it begins; its blocks start at once."""
    async with stage({"first": sleeps(5), "a": sleeps(1), "b": sleeps(1), "c": sleeps(1)}) as it:
        report = await it.run(plan("first", ("a", "b", "c"), "last"))
        assert len(it.host.asked("create")) == 3
        assert {call.at for call in it.host.asked("prepare")} == {0.0}
        causes = [result.start.cause for result in report.results if result.start]
        assert sorted(causes[1:4]) == ["cooling", "hit", "hit"]
        assert it.heard(LaneCompleted)[1].launch_spread == pytest.approx(0, abs=0.001)
        started = [change for change in it.heard(ContainerStateChanged) if change.phase == "starting"]
        assert len(started) == 3


async def test_prewarmed_and_unneeded_are_paused_when_the_run_ends(
    autojump_clock: MockClock, stage: Open, plan: Plan
) -> None:
    async with stage({"a": fails("no", after=5)}) as it:
        await it.run(plan("a", ("b", "c", "d")))
        await it.until(lambda: it.phases() == ["dormant"] * 3)


async def test_prewarming_respects_the_cap(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async with stage(settings=Settings(max_containers=2)) as it:
        report = await it.run(plan("a", ("b", "c", "d", "e")))
        assert report.status == "completed"
        assert len(it.host.asked("create")) == 2


async def test_second_run_is_served_by_wakes(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    """Containers stay dormant between the runs of a session; a wake takes less than a third of a cold start."""
    async with stage() as it:
        three = plan(("a", "b", "c"))
        await it.run(three)
        await it.until(lambda: it.phases() == ["dormant"] * 3)
        second = await it.run(three)
        colds = [change.cold_start for change in it.heard(ContainerStateChanged) if change.cold_start is not None]
        assert [result.start.cause for result in second.results if result.start] == ["wake"] * 3
        assert max(result.start.start for result in second.results if result.start) < 0.3 * min(colds)
        assert len(it.host.asked("create")) == 3


async def test_two_runs_at_once_share_the_pool(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    """Neither takes from the other, and each has its own results."""
    seen: list[tuple[str, str]] = []

    async def work(call: FakeCall) -> str:
        seen.append((call.execution_id, call.block_id))
        await trio.sleep(1)
        return call.execution_id

    async with stage(dict.fromkeys("abcd", work), settings=Settings(max_containers=3)) as it:
        one = it.session.start(plan(("a", "b"), "c"))
        two = it.session.start(plan(("a", "b"), ("c", "d")))
        assert one.id != two.id
        first, second = await one.wait(), await two.wait()
        assert set(first.outputs.values()) == {one.id}
        assert set(second.outputs.values()) == {two.id}
        assert len(seen) == 7
        assert first.execution_id == one.id


async def test_missing_image_is_that_blocks_failure(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async with stage(images={"nowhere": "missing"}) as it:
        bad = Block(command=("true",), container=Container(image="nowhere"))
        report = await it.run(plan(("a", "b"), b=bad, failure_mode="lenient"))
        assert report["a"].status == "succeeded"
        assert (report["b"].status, report["b"].reason) == ("failed", "container")
        assert "pull access denied for nowhere" in (report["b"].error or "")
        assert (await it.run(plan("a"))).status == "completed"


async def test_container_lost_under_a_block(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    """With the host's words for why; the next run is well."""
    async with stage({"a": sleeps(100)}) as it, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def kill() -> None:
            await it.until(lambda: len(it.heard(BlockStarted)) == 1)
            await trio.sleep(0.5)
            it.host.kill(it.host.names("running")[0])

        report = await it.run(plan("a"))
        assert (report["a"].status, report["a"].reason) == ("failed", "lost")
        assert "killed by SIGKILL" in (report["a"].error or "")
        assert report.duration < 1
        assert (await it.run(plan("b"))).status == "completed"


async def test_connection_lost_in_a_block_loses_the_container(
    autojump_clock: MockClock, stage: Open, plan: Plan
) -> None:
    """The block may still be in there, so the container goes."""
    async with stage({"a": ignores_sigterm(1000)}) as it:
        it.host.orders.order(fails_after(delay=2.0), "run")
        report = await it.run(plan("a"))
        assert report["a"].reason == "lost"
        assert "connection was reset" in (report["a"].error or "")
        await it.until(lambda: it.phases() == [])


async def test_out_of_memory_is_said(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async with stage({"a": sleeps(100)}) as it, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def kill() -> None:
            await it.until(lambda: len(it.heard(BlockStarted)) == 1)
            await trio.sleep(0.5)
            it.host.out_of_memory(it.host.names("running")[0], "a")

        report = await it.run(plan("a"))
        assert (report["a"].reason, report["a"].error) == ("oom", "it exceeded the memory limit of its container")


async def test_report_and_receipt(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async with stage({"a": sleeps(1, {"n": 1})}) as it:
        report = await it.run(plan("a", "b"))
        assert (report.plan_name, report.status, report.execution_id) == ("p", "completed", f"{it.session.id}-e1")
        result = report["a"]
        assert result.started_at is not None
        assert (result.attempts, result.output, result.error) == (1, {"n": 1}, None)
        assert result.duration == pytest.approx(1, abs=0.01)
        (end,) = report.receipt.containers
        assert (end.container_id, end.ended) == (result.container_id, "returned")
        assert report.receipt.settled == 0.0
        with pytest.raises(KeyError):
            report["nobody"]


# request blocks


def service(request: FakeRequest) -> Response:
    status = int(request.path.strip("/") or 200)
    return Response(status=status, headers={}, body={"method": request.method, "body": request.body})


async def test_request_blocks(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    """The answer is the output; the input is the body of what takes one; 400 and above is a failure."""
    server = Container(image="web", port=8000)

    def request(method: str, path: str = "/", body: Any = None) -> Block:
        asked = Request(method=method, path=path, body=body)
        return Block(request=asked, container=server, input={"x": 1})

    async with stage(service=service) as it:
        bad = request("GET", "/503")
        get, post, own = request("GET"), request("POST"), request("POST", body={"mine": 1})
        report = await it.run(
            plan(
                ("get", "post", "own", "bad"),
                get=get,
                post=post,
                own=own,
                bad=bad,
                failure_mode="lenient",
            )
        )
        assert report.outputs == {
            "get": {"method": "GET", "body": None},
            "post": {"method": "POST", "body": {"x": 1}},
            "own": {"method": "POST", "body": {"mine": 1}},
        }
        assert report["bad"].reason == "error"
        assert report["bad"].error == "GET /503 was answered with status 503"


async def test_request_with_too_large_an_answer(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    def large(_request: FakeRequest) -> Response:
        return Response(status=200, headers={}, body="ä" * 60)

    get = Block(request=Request(), container=Container(image="web", port=8000))
    async with stage(service=large, settings=Settings(output_limit=100)) as it:
        report = await it.run(plan("a", a=get))
        assert report["a"].reason == "bad-output"
        assert report["a"].error == "its output of 122 bytes exceeds the limit of 100"


async def test_cancelled_request_costs_the_container(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async def slow(_request: FakeRequest) -> Response:
        await trio.sleep(1000)
        return Response(status=200, headers={}, body=None)

    get = Block(request=Request(), container=Container(image="web", port=8000), timeout=1.0)
    async with stage(service=slow) as it:
        report = await it.run(plan("a", a=get))
        assert report["a"].reason == "timeout"
        await it.until(lambda: it.phases() == [])


# single-container


async def test_single_container_runs_a_lane_side_by_side_in_one(
    autojump_clock: MockClock, stage: Open, plan: Plan
) -> None:
    async with stage({"a": sleeps(1, 1), "b": sleeps(3, 2), "c": sleeps(2, 3)}) as it:
        report = await it.run(plan(("a", "b", "c"), "d", parallelism_model="single-container"))
        assert report.status == "completed"
        assert report.outputs == {"a": 1, "b": 2, "c": 3, "d": None}
        assert len(it.host.asked("create")) == 1
        assert len({result.container_id for result in report.results}) == 1
        assert 3 <= report.duration < 3.5


@pytest.mark.parametrize("mode", ["strict", "lenient"])
async def test_single_container_failure_modes(autojump_clock: MockClock, stage: Open, plan: Plan, mode: str) -> None:
    """strict ends the siblings and keeps the container; lenient leaves them alone."""
    async with stage({"a": fails("no", after=1), "b": sleeps(3, 2)}) as it:
        report = await it.run(plan(("a", "b"), "c", parallelism_model="single-container", failure_mode=mode))
        assert report["a"].reason == "error"
        if mode == "strict":
            assert (report["b"].reason, report["c"].reason) == ("sibling-failed", "earlier-failure")
        else:
            assert (report["b"].output, report["c"].status) == (2, "succeeded")
        await it.until(lambda: it.phases() == ["dormant"])


async def test_single_container_that_cannot_be_had_fails_all_its_blocks(
    autojump_clock: MockClock, stage: Open, plan: Plan
) -> None:
    missing = Container(image="nowhere")
    async with stage(images={"nowhere": "missing"}) as it:
        report = await it.run(
            plan(("a", "b"), parallelism_model="single-container", failure_mode="lenient", container=missing)
        )
        assert [result.reason for result in report.results] == ["container", "container"]


async def test_single_container_that_dies_loses_all_its_blocks(
    autojump_clock: MockClock, stage: Open, plan: Plan
) -> None:
    async with stage({"a": sleeps(100), "b": sleeps(100)}) as it, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def kill() -> None:
            await it.until(lambda: len(it.heard(BlockStarted)) == 2)
            await trio.sleep(0.5)
            it.host.kill(it.host.names("running")[0])

        report = await it.run(plan(("a", "b"), parallelism_model="single-container", failure_mode="lenient"))
        assert [result.reason for result in report.results] == ["lost", "lost"]


async def test_single_container_lane_with_a_block_that_will_not_end(
    autojump_clock: MockClock, stage: Open, plan: Plan
) -> None:
    """Its time-out ends it with SIGKILL; its sibling goes on, and the container is not paused under it."""
    stubborn = Block(command=("true",), timeout=1.0)
    async with stage({"a": ignores_sigterm(1000), "b": sleeps(5, "B")}) as it:
        report = await it.run(
            plan(("a", "b"), a=stubborn, parallelism_model="single-container", failure_mode="lenient")
        )
        assert report["a"].reason == "timeout"
        assert report["b"].output == "B"


async def test_hundred_blocks_on_few_containers(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    names = [f"b{number}" for number in range(100)]

    def odd(call: FakeCall) -> str:
        if int(call.block_id[1:]) % 2:
            raise Failed("odd")
        return call.block_id

    async with stage(dict.fromkeys(names, odd), pace=Pace(create=0.5), settings=Settings(max_containers=3)) as it:
        report = await it.run(plan(tuple(names), failure_mode="lenient"))
        assert len(report.failures) == 50
        assert list(report.outputs) == names[::2]
        assert len(it.host.asked("create")) == 3
