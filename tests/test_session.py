"""A session: the life of one pool, what it refuses, what it tells, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import warmlane
from warmlane.engine import Execution
from warmlane.errors import LeftBehindError, PlanError, RuntimeUnavailableError, SessionClosedError
from warmlane.events import ExecutionCompleted, ExecutionStarted, SessionNotice
from warmlane.plan.model import Block, Container, WorkflowPlan
from warmlane.runtimes import sweep as sweep_module
from warmlane.runtimes.fake import open_fake_runtime
from warmlane.runtimes.protocol import Birth
from warmlane.session import Session, open_session, run
from warmlane.settings import Graces, Settings
from warmlane.testing import EPOCH, FakeHost, Fault, fails_before, hangs, open_fake_session, sleeps, slow

DOCUMENT = {"name": "p", "container": {"image": "img"}, "blocks": {"a": {"command": ["true"]}}, "lanes": ["a"]}
PLAN = WorkflowPlan(name="p", container=Container(image="img"), blocks={"a": Block(command=("true",))}, lanes=("a",))


@pytest.mark.parametrize("plan", [DOCUMENT, PLAN], ids=["document", "objects"])
async def test_plan_may_be_a_document_or_objects(autojump_clock: MockClock, plan: WorkflowPlan) -> None:
    async with open_fake_session({"a": lambda _call: 1}) as (session, _host):
        assert session.runtime == "fake"
        report = await session.run(plan)
        assert report.outputs == {"a": 1}


async def test_bad_plans_are_refused_before_anything_starts(autojump_clock: MockClock) -> None:
    """Read or made by hand, run or started; nothing is announced."""
    bad = WorkflowPlan(name="p", blocks={"a": Block(command=("true",))}, lanes=("b",))
    async with open_fake_session() as (session, host):
        with pytest.raises(PlanError, match="there is no block 'b'"):
            await session.run(bad)
        with pytest.raises(PlanError, match="there is no block 'b'"):
            session.start({**DOCUMENT, "lanes": ["b"]})
        with pytest.raises(PlanError, match="who"):
            session.start(PLAN, inputs={"who": "me"})
        assert host.asked("prepare", "create") == []
        assert session.pool_status().revision == 0


async def test_run_of_a_bad_plan_opens_no_runtime() -> None:
    """Its cap comes from the plan, so the plan is looked at first."""
    with pytest.raises(PlanError, match="maxContainers"):
        await run(WorkflowPlan(name="p", blocks=PLAN.blocks, lanes=("a",), max_containers=0), runtime="nowhere")


async def test_what_the_host_cannot_run_is_a_problem_of_the_plan(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    say = {"command": ["x"]}
    async with open_fake_runtime() as fake:
        monkeypatch.setattr(type(fake), "vet", lambda _self, container: f"no {container.image} here")
        async with open_session(fake) as session:
            with pytest.raises(PlanError) as caught:
                await session.run({**DOCUMENT, "blocks": {"a": say, "b.1": say}, "lanes": ["a", "b.1"]})
    assert [str(problem) for problem in caught.value.problems] == [
        "$.blocks.a: no img here",
        "$.blocks['b.1']: no img here",
    ]


async def test_one_call_runs_one_plan(autojump_clock: MockClock) -> None:
    """`warmlane.run`, with the plan's own cap."""
    plan = {**DOCUMENT, "maxContainers": 1, "blocks": {"a": {"command": ["x"]}, "b": {"command": ["x"]}}}
    plan["lanes"] = [{"blocks": ["a", "b"]}]
    async with open_fake_runtime(blocks={"a": sleeps(1), "b": sleeps(1)}) as fake:
        report = await warmlane.run(plan, runtime=fake)
        assert report.status == "completed"
        assert len(fake.host.asked("create")) == 1
        assert fake.host.leftovers() == []


async def test_runtime_that_is_not_there() -> None:
    with pytest.raises(RuntimeUnavailableError, match="'nowhere'"):
        async with open_session("nowhere"):
            pass


async def test_without_docker_auto_takes_processes_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once as an event, and once in the log."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    async with open_session() as session:
        assert session.runtime == "process"
        notices = said(session)
    (notice,) = notices
    assert notice.startswith(f"blocks run as local processes, without containers: nothing answers at unix://{tmp_path}")
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [notice]


async def test_who_asks_for_processes_by_name_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with open_session("process") as session:
        assert said(session) == []
    assert caplog.records == []


async def test_what_the_sweep_cannot_remove_is_said_once_for_each(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sweep_module, "owner_is_dead", lambda label: label == "dead")
    async with open_fake_runtime() as fake:
        for name in ("left-1", "left-2"):
            fake.host.add(Birth(name=name, container=PLAN.container, session_id="before", owner="dead", token="t"))
        fake.host.orders.order(fails_before(), "remove", name="left-1")
        fake.host.orders.order(hangs(), "remove", name="left-2")
        async with open_session(fake, settings=Settings(graces=Graces(remove=2))) as session:
            await trio.sleep(3)
            notices = said(session)
    causes = {
        "left-1": "no answer to 'remove left-1': the connection was reset",
        "left-2": "its removal was not confirmed within 2 seconds",
    }
    assert sorted(notices) == [
        f"could not remove {name}, which an ended session has left: {why}; 'warmlane gc' tries again"
        for name, why in causes.items()
    ]
    assert [record.getMessage() for record in caplog.records] == notices


@pytest.mark.parametrize(("fault", "left", "seconds"), [(slow(1.0), [], 1.0), (hangs(), ["left"], Graces().settle)])
async def test_a_sweep_under_way_when_the_session_is_left_has_a_moment(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, fault: Fault, left: list[str], seconds: float
) -> None:
    monkeypatch.setattr(sweep_module, "owner_is_dead", lambda label: label == "dead")
    async with open_fake_runtime() as fake:
        fake.host.add(Birth(name="left", container=PLAN.container, session_id="before", owner="dead", token="t"))
        fake.host.orders.order(fault, "remove")
        with trio.CancelScope() as scope:
            async with open_session(fake):
                await trio.sleep(0.1)
                scope.cancel()
        assert fake.host.names() == left
        assert trio.current_time() == pytest.approx(seconds, abs=0.2)


async def test_sweep_that_cannot_look_is_said(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with open_fake_runtime() as fake:
        fake.host.orders.order(fails_before(), "owned")
        async with open_session(fake) as session:
            await trio.sleep(1)
            notices = said(session)
    (notice,) = notices
    assert notice.startswith("could not look for what ended sessions have left: no answer to 'list the containers'")
    assert [record.getMessage() for record in caplog.records] == notices


def said(session: Session) -> list[str]:
    """All its notices so far."""
    with session.events(after=0) as feed:
        events = [envelope.event for envelope in iter(feed.receive_nowait, None)]
    return [event.text for event in events if isinstance(event, SessionNotice)]


async def test_events_of_two_readers_and_their_end(autojump_clock: MockClock) -> None:
    """Each has its own place; both end when the session has closed, and have heard the last container go."""
    heard: dict[str, list[str]] = {"early": [], "late": []}

    async with trio.open_nursery() as nursery:

        async def listen(session: Session, name: str, after: int | None) -> None:
            with session.events(after=after) as feed:
                heard[name] += [envelope.json async for envelope in feed]

        async with open_fake_session() as (session, _host):
            nursery.start_soon(listen, session, "early", None)
            await trio.testing.wait_all_tasks_blocked()
            await session.run(PLAN)
            nursery.start_soon(listen, session, "late", 0)
            await trio.testing.wait_all_tasks_blocked()
    assert heard["early"] == heard["late"]
    assert '"terminated"' in heard["early"][-2]
    assert '"containers":[]' in heard["early"][-1]


async def test_moments_are_on_the_given_clock(autojump_clock: MockClock) -> None:
    async with open_fake_session({"a": sleeps(5)}) as (session, _host):
        await trio.sleep(100)
        with session.events(whole=True) as feed:
            report = await session.run(PLAN)
            started = await feed.receive()
        assert started.at == EPOCH + 100
        assert EPOCH + 100 < (report["a"].started_at or 0) < EPOCH + 101


async def test_executions_are_numbered_and_announced(autojump_clock: MockClock) -> None:
    async with open_fake_session() as (session, _host):
        with session.events(whole=True) as feed:
            reports = [await session.run(PLAN), await session.run(PLAN)]
            kinds = []
            while (envelope := feed.receive_nowait()) is not None:
                if isinstance(envelope.event, ExecutionStarted | ExecutionCompleted):
                    kinds.append((envelope.execution_id, envelope.event.channel))
        first, second = (report.execution_id for report in reports)
        assert first != second
        assert kinds == [
            (execution, channel)
            for execution in (first, second)
            for channel in ("execution:started", "execution:complete")
        ]


async def test_closed_session_takes_no_work(autojump_clock: MockClock) -> None:
    async with open_fake_session() as (session, _host):
        pass
    with pytest.raises(SessionClosedError):
        await session.run(PLAN)
    with pytest.raises(SessionClosedError):
        session.start(PLAN)


async def test_hurried_session_takes_no_work(autojump_clock: MockClock) -> None:
    async with open_fake_session() as (session, host):
        await session.run(PLAN)
        session.hurry()
        with pytest.raises(SessionClosedError):
            session.start(PLAN)
        await trio.sleep(1)
        assert host.names() == []


async def test_what_is_left_behind_is_named(autojump_clock: MockClock) -> None:
    names: list[str] = []

    async def use() -> None:
        async with open_fake_session() as (session, host):
            await session.run(PLAN)
            names.extend(host.names())
            host.orders.order(hangs(), "remove", times=1000)

    with pytest.raises(LeftBehindError) as caught:
        await use()
    assert list(caught.value.names) == names
    assert "warmlane gc" in str(caught.value)


async def test_exception_of_the_body_is_not_hidden_by_what_is_left(autojump_clock: MockClock) -> None:
    async def use() -> None:
        async with open_fake_session() as (session, host):
            await session.run(PLAN)
            host.orders.order(hangs(), "remove", times=1000)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await use()


@pytest.mark.parametrize("moment", [0, 0.0005, 0.001, 0.01, 0.1, 0.15, 0.2, 1, 2])
async def test_cancelled_session_leaves_nothing(autojump_clock: MockClock, moment: float) -> None:
    """From its first moment on."""
    async with open_fake_runtime(blocks={"a": sleeps(10)}) as fake:
        with trio.move_on_after(moment) as scope:
            async with open_session(fake, settings=Settings(graces=Graces(terminate=0.1))) as session:
                session.start(PLAN)
                await session.run(PLAN)
        assert scope.cancelled_caught
        assert fake.host.leftovers() == []


async def test_session_closes_under_a_waiting_caller(autojump_clock: MockClock) -> None:
    """Whoever waits for the report gets one, also after the end."""
    executions: list[Execution] = []
    hosts: list[FakeHost] = []
    async with trio.open_nursery() as nursery, open_fake_session({"a": sleeps(1000)}) as (session, host):
        hosts.append(host)
        executions.append(session.start(PLAN))
        nursery.start_soon(executions[0].wait)
        await trio.sleep(1)
    assert (await executions[0].wait()).status == "aborted"
    assert hosts[0].names() == []
