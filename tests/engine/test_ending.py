"""However and whenever a run is ended: each block has its result, and nothing of the run is left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from warmlane.engine import Report
from warmlane.events import BlockStarted, ExecutionAborted, ExecutionCompleted, LaneCompleted, LaneStarted
from warmlane.plan.model import Block, Container, WorkflowPlan
from warmlane.runtimes.fake_blocks import fails, ignores_sigterm, sleeps
from warmlane.runtimes.fake_box import INSTANT, Pace
from warmlane.runtimes.fake_faults import fails_after, hangs
from warmlane.settings import Graces, Settings

if TYPE_CHECKING:
    from tests.engine.conftest import Stage

Open = Callable[..., "AbstractAsyncContextManager[Stage]"]
Plan = Callable[..., WorkflowPlan]

EARLY = [0, 0.001, 0.002, 0.003, 0.031, 0.05, 0.093, 0.1, 0.15, 0.152, 0.16]
LATE = [0.5, 1.0, 1.15, 1.151, 1.2, 1.5, 2.2, 2.5, 3.0, 3.151, 3.3]
WAYS = ["abort", "cancel", "plan-timeout"]


def settled(it: Stage, report: Report) -> None:
    """What holds when a run has been ended from outside."""
    assert it.host.running_blocks() == []
    assert it.session.pool_status().waiting == 0
    assert set(it.phases()) <= {"dormant"}, "nothing is on its way anywhere, births included"
    assert {end.ended for end in report.receipt.containers} <= {"dormant", "removed"}
    assert report.receipt.settled < 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("moment", [*EARLY, *LATE])
async def test_ended_at_any_moment(autojump_clock: MockClock, stage: Open, plan: Plan, moment: float, way: str) -> None:
    """By abort, by the caller's scope, by the plan's time; the session's next run is as if nothing had been."""
    blocks = {"a": sleeps(1), "b": sleeps(2), "c": ignores_sigterm(1.5), "d": sleeps(1)}
    async with stage(blocks, settings=Settings(max_containers=3)) as it:
        whole = plan("a", ("b", "c", "x", "y"), "d")
        report = await end(it, whole, moment, way)
        if report.status == "completed":
            assert moment > 4.1
            return
        settled(it, report)
        assert report.status == ("failed" if way == "plan-timeout" else "aborted")
        reason = "plan-timeout" if way == "plan-timeout" else "aborted"
        assert [result.block_id for result in report.results] == ["a", "b", "c", "x", "y", "d"]
        for result in report.results:
            if result.status != "succeeded":
                assert (result.status, result.reason) == ("failed" if result.container_id else "skipped", reason)
        assert (await it.run(plan("a", ("b", "c")))).status == "completed"


async def end(it: Stage, plan: WorkflowPlan, moment: float, way: str) -> Report:
    """Runs it, and ends it then and so."""
    if way == "plan-timeout":
        return await it.run(evolve(plan, timeout=max(moment, 0.0001)))
    if way == "abort":
        execution = it.session.start(plan)
        await trio.sleep(moment)
        execution.abort()
        execution.abort()
        with trio.fail_after(2):
            return await execution.wait()
    with trio.move_on_after(moment) as scope:
        return await it.session.run(plan)
    assert scope.cancelled_caught
    assert trio.current_time() - scope.deadline < 1
    (ended,) = it.heard(ExecutionAborted)
    return Report(
        execution_id="", plan_name="", status=ended.status, results=ended.results, duration=ended.duration,
        receipt=ended.receipt,
    )  # fmt: skip


@pytest.mark.parametrize("moment", [0, 0.01, 0.5])
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
async def test_abort_with_instant_host(
    autojump_clock: MockClock, stage: Open, plan: Plan, moment: float, shared: bool
) -> None:
    model = "single-container" if shared else "multi-container"
    async with stage({"a": sleeps(1), "b": sleeps(1)}, pace=INSTANT) as it:
        execution = it.session.start(plan(("a", "b"), "c", parallelism_model=model))
        await trio.sleep(moment)
        execution.abort()
        report = await execution.wait()
        settled(it, report)
        assert report.status == "aborted"


async def test_abort_before_the_first_step(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async with stage() as it:
        execution = it.session.start(plan("a", ("b", "c")))
        execution.abort()
        report = await execution.wait()
        assert [(result.status, result.reason) for result in report.results] == [("skipped", "aborted")] * 3
        assert it.heard(BlockStarted) == []


@pytest.mark.parametrize("way", WAYS)
async def test_ended_while_a_lane_waits_for_its_containers(
    autojump_clock: MockClock, stage: Open, plan: Plan, way: str
) -> None:
    """The container of the lane before is asleep when the run has settled, though no block was running."""
    other = Block(command=("true",), container=Container(image="other"))
    async with stage(pace=Pace(pull=0.4), images={"other": "remote"}) as it:
        report = await end(it, plan("a", ("b", "c"), b=other, c=other), 0.25, way)
        settled(it, report)
        assert [result.status for result in report.results] == ["succeeded", "skipped", "skipped"]
        assert [end.ended for end in report.receipt.containers] == ["dormant", "removed", "removed"]


@pytest.mark.parametrize("way", WAYS)
async def test_ended_while_containers_are_born(autojump_clock: MockClock, stage: Open, plan: Plan, way: str) -> None:
    """What nobody needs any more is not born: it is gone when the run has settled, and on the receipt."""
    async with stage(pace=Pace(create=0.3)) as it:
        report = await end(it, plan(("a", "b", "c")), 0.1, way)
        settled(it, report)
        assert report.receipt.settled >= 0.2, "a create is never broken off"
        assert [end.ended for end in report.receipt.containers] == ["removed"] * 3
        assert it.host.asked("start") == []


async def test_births_that_another_run_needs_go_on(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async with stage(pace=Pace(create=0.3), settings=Settings(max_containers=3)) as it:
        cancelled = it.session.start(plan(("a", "b", "c")))
        await trio.sleep(0.1)
        goes_on = it.session.start(plan(("d", "e")))
        await trio.sleep(0.1)
        cancelled.abort()
        report = await cancelled.wait()
        assert [end.name for end in report.receipt.containers] == [f"warmlane-{it.session.id}-3"]
        assert (await goes_on.wait()).status == "completed"
        assert len(it.host.asked("create")) == 3


@pytest.mark.parametrize("mode", ["strict", "lenient"])
async def test_no_run_has_ended_while_its_block_may_run(
    autojump_clock: MockClock, stage: Open, plan: Plan, mode: str
) -> None:
    """The connection to a block breaks, and it takes a while to remove the container in which it may go on."""
    async with stage({"a": sleeps(1000)}) as it:
        it.host.orders.order(fails_after(delay=0.1), "run")
        it.host.orders.order(hangs(), "remove")
        report = await it.run(plan("a", "b", failure_mode=mode))
        assert it.host.running_blocks() == []
        assert report["a"].reason == "lost"
        assert report.receipt.containers[0].ended == "removed"
        (over,) = [event for event in it.heard(LaneCompleted) if event.lane == 0]
        assert over.results[0] == report["a"]
        removals = it.host.asked("remove")
        assert len(removals) == 2
        started = [told.at for told in it.read() if isinstance(told.event, LaneStarted) and told.event.lane == 1]
        assert all(at >= removals[1].at for at in started), "the next lane does not run beside it either"


async def test_what_can_not_be_removed_is_called_so(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async with stage({"a": sleeps(1000)}) as it:
        it.host.orders.order(fails_after(delay=0.1), "run")
        it.host.orders.order(hangs(), "remove", times=2)
        report = await it.run(plan("a", failure_mode="lenient"))
        assert report.receipt.containers[0].ended == "quarantined"


async def test_the_way_to_settled_begins_with_the_first_cancellation(
    autojump_clock: MockClock, stage: Open, plan: Plan
) -> None:
    """Of a sibling, by a failure; and it ends with the containers at rest, the failed one's own too."""
    async with stage({"a": fails("no", after=1), "b": ignores_sigterm(100)}) as it:
        report = await it.run(plan(("a", "b")))
        assert it.phases() == ["dormant"] * 2
        assert [end.ended for end in report.receipt.containers] == ["dormant"] * 2
        assert report.receipt.settled >= Graces().terminate
        assert report.receipt.settled < 1


async def test_a_failure_that_cancels_nobody_ends_at_once(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async with stage({"a": fails("no", after=1)}) as it:
        report = await it.run(plan("a", "b"))
        assert [end.ended for end in report.receipt.containers] == ["returned"]
        assert report.receipt.settled == 0


async def test_abort_after_the_end_changes_nothing(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async with stage() as it:
        execution = it.session.start(plan("a"))
        report = await execution.wait()
        execution.abort()
        assert (await execution.wait()) is report
        assert report.status == "completed"
        assert it.heard(ExecutionAborted) == []


async def test_abort_while_siblings_of_a_failure_are_ended(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    """Both at once: every block has one reason, and the run is over."""
    async with stage({"a": fails("no", after=1), "b": ignores_sigterm(100)}) as it:
        execution = it.session.start(plan(("a", "b"), "c"))
        await it.until(lambda: len(it.heard(BlockStarted)) == 2)
        await trio.sleep(1.2)
        execution.abort()
        report = await execution.wait()
        assert (report["a"].reason, report["b"].reason) == ("error", "sibling-failed")
        assert report.status in ("failed", "aborted")
        assert report["c"].status == "skipped"


async def test_block_that_ignores_sigterm_is_killed_after_its_grace(
    autojump_clock: MockClock, stage: Open, plan: Plan
) -> None:
    async with stage({"a": ignores_sigterm(1000)}, settings=Settings(graces=Graces(terminate=0.4))) as it:
        execution = it.session.start(plan("a"))
        await trio.sleep(1)
        execution.abort()
        report = await execution.wait()
        assert 0.4 <= report.receipt.settled < 0.6
        assert [end.ended for end in report.receipt.containers] == ["dormant"]


@pytest.mark.parametrize("deaf", ["silent", "end hangs", "killed"])
async def test_agent_that_does_not_confirm_costs_the_container(
    autojump_clock: MockClock, stage: Open, plan: Plan, deaf: str
) -> None:
    """Within the settle grace; never is a block reported as over that may still run."""
    async with stage({"a": ignores_sigterm(1000)}) as it:
        execution = it.session.start(plan("a"))
        await trio.sleep(1)
        (name,) = it.host.names("running")
        if deaf == "silent":
            it.host.silence(name)
        elif deaf == "killed":
            it.host.kill(name)
        else:
            it.host.orders.order(hangs(), "end")
        execution.abort()
        report = await execution.wait()
        assert [end.ended for end in report.receipt.containers] == ["removed"]
        assert report.receipt.settled < 4
        assert name not in it.host.names()
        if deaf != "killed":
            assert it.host.names() == [], "no replacement is born for a run that is over"
        assert report["a"].reason in ("aborted", "lost")


async def test_container_that_cannot_be_removed_is_in_the_receipt(
    autojump_clock: MockClock, stage: Open, plan: Plan
) -> None:
    """The run does not wait for ever for its proof."""
    async with stage({"a": sleeps(1000)}) as it:
        execution = it.session.start(plan("a"))
        await trio.sleep(1)
        it.host.orders.order(hangs(), "end", "remove", times=4)
        execution.abort()
        with trio.fail_after(30):
            report = await execution.wait()
        assert [end.ended for end in report.receipt.containers] == ["quarantined"]
        await it.until(lambda: it.phases() == [])


async def test_block_timeout(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    """Counted from its start, not from its place in line; the container is kept."""
    async with stage({"a": sleeps(100), "b": sleeps(3)}, settings=Settings(max_containers=1)) as it:
        limit = Block(command=("true",), timeout=2.0)
        report = await it.run(plan(("b", "a"), a=limit, failure_mode="lenient"))
        assert report["b"].status == "succeeded"
        assert (report["a"].status, report["a"].reason) == ("failed", "timeout")
        assert report["a"].error == "it exceeded its time-out of 2000 ms"
        assert report["a"].duration == pytest.approx(2, abs=0.1)
        assert len(it.host.asked("create")) == 1


async def test_plan_timeout_fails_what_runs_and_skips_the_rest(
    autojump_clock: MockClock, stage: Open, plan: Plan
) -> None:
    async with stage({"a": sleeps(100)}) as it:
        report = await it.run(plan(("a", "b"), "c", timeout=2.0))
        assert report.status == "failed"
        assert [(result.status, result.reason) for result in report.results] == [
            ("failed", "plan-timeout"),
            ("succeeded", None),
            ("skipped", "plan-timeout"),
        ]
        assert report["a"].error == "the plan exceeded its time-out"
        assert len(it.heard(ExecutionCompleted)) == 1


async def test_exception_in_the_callers_body_ends_the_run(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async def body() -> None:
        async with stage({"a": sleeps(1000)}) as it:
            stages.append(it)
            executions.append(it.session.start(plan("a", "b")))
            await it.until(lambda: len(it.heard(BlockStarted)) == 1)
            raise KeyError("mine")

    stages: list[Stage] = []
    executions: list[object] = []
    with pytest.raises(KeyError, match="mine"):
        await body()
    (it,) = stages
    (ended,) = it.heard(ExecutionAborted)
    assert [result.reason for result in ended.results] == ["aborted", "aborted"]
    assert it.host.names() == []


async def test_session_closed_during_a_run(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async with stage({"a": ignores_sigterm(1000)}) as it:
        execution = it.session.start(plan("a", "b"))
        await it.until(lambda: len(it.heard(BlockStarted)) == 1)
    report = await execution.wait()
    assert report.status == "aborted"
    assert [result.reason for result in report.results] == ["aborted", "aborted"]


async def test_cancelled_wait_leaves_the_run_alone(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async with stage({"a": sleeps(5, "A")}) as it:
        execution = it.session.start(plan("a"))
        with trio.move_on_after(1):
            await execution.wait()
        assert (await execution.wait()).outputs == {"a": "A"}


async def test_hurried_session_ends_its_runs(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    """No grace any more: what runs is lost, what waits is refused, and nobody hangs."""
    stubborn = ignores_sigterm(1000)
    async with stage({"a": stubborn, "b": stubborn}, settings=Settings(max_containers=1)) as it:
        execution = it.session.start(plan(("a", "b"), failure_mode="lenient"))
        await it.until(lambda: len(it.heard(BlockStarted)) == 1)
        await trio.sleep(1)
        it.session.hurry()
        with trio.fail_after(5):
            report = await execution.wait()
        assert {result.reason for result in report.results} == {"lost", "container"}


async def test_abort_of_one_run_leaves_another_alone(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    async with stage({"a": sleeps(10), "b": sleeps(10, "B")}) as it:
        doomed, other = it.session.start(plan("a")), it.session.start(plan("b"))
        await trio.sleep(1)
        doomed.abort()
        assert (await doomed.wait()).status == "aborted"
        assert (await other.wait()).outputs == {"b": "B"}


async def test_abort_in_a_crowd(autojump_clock: MockClock, stage: Open, plan: Plan) -> None:
    """Fifty blocks on ten containers: all settled within a second."""
    names = tuple(f"b{number}" for number in range(50))
    async with stage(dict.fromkeys(names, sleeps(100)), pace=Pace(pause=0.05)) as it:
        execution = it.session.start(plan(names))
        await trio.sleep(1)
        execution.abort()
        report = await execution.wait()
        settled(it, report)
        statuses = [result.status for result in report.results]
        assert (statuses.count("failed"), statuses.count("skipped")) == (10, 40)
        assert [end.ended for end in report.receipt.containers] == ["dormant"] * 10
