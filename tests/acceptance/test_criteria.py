"""The promises of a pool and an executor, each on every real runtime. Bounds are the promise's own, never tighter."""

from __future__ import annotations

import socket
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

from warmlane import Report

pytestmark = pytest.mark.usefixtures("bounded")


def at(message: dict[str, Any]) -> float:
    return datetime.fromisoformat(message["at"]).timestamp()


def by_block(messages: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {message["payload"]["blockId"]: message for message in messages}


def statuses(report: Report) -> dict[str, tuple[str, str | None]]:
    return {result.block_id: (result.status, result.reason) for result in report.results}


async def test_three_blocks_start_together_and_the_next_lane_waits_for_all(place: Any, stage: Any) -> None:
    async with stage(place) as it:
        blocks = {"a": "sleep 0.2", "b": "sleep 0.8", "c": "sleep 0.5", "after": "cat $WARMLANE_INPUT"}
        report = await it.session.run(it.plan(blocks, [{"blocks": ["a", "b", "c"]}, "after"]))
        assert report.status == "completed"
        started, ended = (
            by_block(it.messages("execution:block-start")),
            by_block(it.messages("execution:block-complete")),
        )
        lane = it.messages("execution:lane-complete")[0]
        assert it.messages("execution:lane-start")[0]["payload"]["blockIds"] == ["a", "b", "c"]
        assert lane["payload"]["launchSpreadMs"] <= 200
        assert max(at(started[name]) for name in "abc") < min(at(ended[name]) for name in "abc"), "all ran at once"
        assert [result["blockId"] for result in lane["payload"]["results"]] == ["a", "b", "c"]
        assert lane["seq"] > max(ended[name]["seq"] for name in "abc")
        assert started["after"]["seq"] > lane["seq"]


async def test_containers_for_the_widest_lane_are_warm_before_it_begins(place: Any, stage: Any, tmp_path: Path) -> None:
    await trio.Path(tmp_path).chmod(0o755)  # blocks in Docker are no root's
    kind, container, daemon = place
    place = kind, container | {"workspace": str(tmp_path)}, daemon
    async with stage(place) as it:
        first = "until [ -e $WARMLANE_WORKSPACE/all-are-born ]; do sleep 0.05; done"
        blocks = {"first": first, "a": "true", "b": "true", "c": "true"}
        execution = it.session.start(it.plan(blocks, ["first", {"blocks": ["a", "b", "c"]}]))
        for name in [(await it.birth(number))["payload"]["name"] for number in range(3)]:
            await it.until("container:state-change", name=name, fromState="starting", toState="idle")
        (tmp_path / "all-are-born").touch()
        assert (await execution.wait()).status == "completed"
        starting = [
            message["seq"]
            for message in it.messages("container:state-change")
            if message["payload"]["fromState"] is None
        ]
        started = by_block(it.messages("execution:block-start"))
        assert len(starting) == 3
        assert max(starting) < started["first"]["seq"], "warming began before the first block"
        assert {started[name]["payload"]["start"]["cause"] for name in "abc"} <= {"hit", "cooling"}
        assert it.session.pool_status().stats.cold == 1


async def test_a_container_sleeps_half_a_second_after_its_block_while_siblings_run(place: Any, stage: Any) -> None:
    async with stage(place) as it:
        execution = it.session.start(it.plan({"quick": "true", "slow": "sleep 30"}, [{"blocks": ["quick", "slow"]}]))
        ended = await it.until("execution:block-complete", blockId="quick")
        asleep = await it.until(
            "container:state-change", containerId=ended["payload"]["containerId"], toState="dormant"
        )
        assert asleep["payload"]["fromState"] == "running"
        assert asleep["payload"]["blockId"] is None
        assert at(asleep) - at(ended) <= 0.5
        assert it.paused(asleep["payload"]["name"])
        records = {record.id: record for record in it.session.pool_status().containers}
        assert records[ended["payload"]["containerId"]].dormant_since is not None
        assert not it.messages("execution:lane-complete"), "its sibling still runs"
        execution.abort()
        await execution.wait()


async def test_a_dormant_container_wakes_in_less_than_a_third_of_a_cold_start(place: Any, stage: Any) -> None:
    async with stage(place) as it:
        plan = it.plan({"a": "true"}, ["a"])
        await it.session.run(plan)
        await it.until("container:state-change", toState="dormant")
        report = await it.session.run(plan)
        changes = [message["payload"] for message in it.messages("container:state-change")]
        cold = next(change["coldStartMs"] for change in changes if change["coldStartMs"] is not None)
        wake = next(change["wakeMs"] for change in changes if change["wakeMs"] is not None)
        assert report["a"].start is not None
        assert report["a"].start.cause == "wake"
        assert cold < 10_000
        assert wake < 2_000
        assert wake <= 0.3 * cold, f"wake {wake} ms, cold {cold} ms"
        path = [
            (change["fromState"], change["toState"]) for change in changes if change["fromState"] != change["toState"]
        ]
        assert path[:6] == [
            (None, "starting"), ("starting", "idle"), ("idle", "running"),
            ("running", "dormant"), ("dormant", "idle"), ("idle", "running"),
        ]  # fmt: skip


async def test_a_dormant_container_expires_and_its_port_is_free(place: Any, stage: Any) -> None:
    async with stage(place, ports=range(9140, 9141)) as it:
        await it.session.run(it.plan({"a": "true"}, ["a"], dormancyTimeoutMs=300))
        gone = await it.until("container:state-change", toState="terminated")
        assert gone["payload"]["fromState"] == "dormant"
        assert gone["payload"]["cause"] == "removed"
        assert not it.exists(gone["payload"]["name"])
        assert it.session.pool_status().containers == ()
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", 9140))
        assert (await it.session.run(it.plan({"a": "true"}, ["a"]))).status == "completed", (
            "the only port is given again"
        )


async def test_waking_in_time_cancels_the_timer(place: Any, stage: Any) -> None:
    async with stage(place) as it:
        await it.session.run(it.plan({"a": "true"}, ["a"], dormancyTimeoutMs=1500))
        await it.until("container:state-change", toState="dormant")
        report = await it.session.run(it.plan({"a": "sleep 2"}, ["a"], dormancyTimeoutMs=1500))
        assert report.status == "completed"
        assert not [m for m in it.messages("container:state-change") if m["payload"]["toState"] == "terminated"]


async def test_leaving_the_session_removes_containers_in_every_state(place: Any, stage: Any) -> None:
    async with stage(place) as it:
        await it.session.run(it.plan({"a": "true", "b": "true"}, [{"blocks": ["a", "b"]}]))
        for record in it.session.pool_status().containers:
            await it.until("container:state-change", containerId=record.id, toState="dormant")
        it.session.start(it.plan({"long": "sleep 60"}, ["long"]))
        await it.until("execution:block-start", blockId="long")
        it.session.start(it.plan({"x": "sleep 60", "y": "sleep 60", "z": "sleep 60"}, [{"blocks": ["x", "y", "z"]}]))
        while not {"running", "starting"} <= {record.state for record in it.session.pool_status().containers}:
            await it.feed.receive()
        names = [record.name for record in it.session.pool_status().containers]
    assert not [name for name in names if it.exists(name)]


async def test_every_transition_is_followed_by_the_state_of_the_pool(place: Any, stage: Any) -> None:
    async with stage(place) as it:
        await it.session.run(it.plan({"a": "true", "b": "true"}, [{"blocks": ["a", "b"]}]))
        messages = it.messages()
        for change, status in pairwise(messages):
            if change["channel"] == "container:state-change":
                assert status["channel"] == "execution:pool-status"
                record = {shown["id"]: shown for shown in status["payload"]["containers"]}[
                    change["payload"]["containerId"]
                ]
                assert record["state"] == change["payload"]["toState"]
                assert record["blockId"] == change["payload"]["blockId"]
        revisions = [
            message["payload"]["revision"] for message in messages if message["channel"] == "execution:pool-status"
        ]
        assert revisions == sorted(set(revisions))


async def test_abort_fails_all_blocks_within_a_second_and_puts_containers_to_sleep(place: Any, stage: Any) -> None:
    async with stage(place) as it:
        blocks = {"a": "sleep 60", "b": "sleep 60", "c": "sleep 60", "later": "true"}
        execution = it.session.start(it.plan(blocks, [{"blocks": ["a", "b", "c"]}, "later"]))
        for name in "abc":
            await it.until("execution:block-start", blockId=name)
        began = trio.current_time()
        execution.abort()
        report = await execution.wait()
        assert trio.current_time() - began <= 1.0
        assert report.status == "aborted"
        assert statuses(report) == dict.fromkeys("abc", ("failed", "aborted")) | {"later": ("skipped", "aborted")}
        assert {end.ended for end in report.receipt.containers} == {"dormant"}
        assert all(it.paused(end.name) for end in report.receipt.containers)
        assert (await it.session.run(it.plan({"a": "true"}, ["a"]))).status == "completed", (
            "the next run is not affected"
        )


async def test_no_port_is_given_twice_and_foreign_ports_are_skipped(place: Any, stage: Any) -> None:
    kind, container, daemon = place
    place = kind, container | {"transport": "tcp"}, daemon
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 9151))
        foreign.listen()
        async with stage(place, ports=range(9150, 9156)) as it:
            names = ["a", "b", "c", "d"]
            execution = it.session.start(it.plan(dict.fromkeys(names, "sleep 60"), [{"blocks": names}]))
            for name in names:
                await it.until("execution:block-start", blockId=name)
            ports = [record.port for record in it.session.pool_status().containers]
            assert len(set(ports)) == 4
            assert set(ports) <= {9150, 9152, 9153, 9154, 9155}
            execution.abort()
            await execution.wait()


async def test_lenient_collects_every_outcome(place: Any, stage: Any) -> None:
    async with stage(place) as it:
        blocks = {"a": "sleep 0.4", "b": "echo it broke >&2; exit 3", "c": "sleep 0.4", "next": "cat $WARMLANE_INPUT"}
        lanes = [{"blocks": ["a", "b", "c"], "failureMode": "lenient"}, "next"]
        report = await it.session.run(it.plan(blocks, lanes))
        assert report.status == "completed"
        assert statuses(report) | {"b": ("failed", "error")} == statuses(report)
        assert [result.status for result in report.results] == ["succeeded", "failed", "succeeded", "succeeded"]
        failure = it.messages("execution:block-error")
        assert [message["payload"] for message in failure] == [
            {"blockId": "b", "error": "exit code 3", "reason": "error"}
        ]
        lane = it.messages("execution:lane-complete")[0]["payload"]["results"]
        assert [result["status"] for result in lane] == ["succeeded", "failed", "succeeded"]
        for end in report.receipt.containers:
            await it.until("container:state-change", name=end.name, toState="dormant")


async def test_strict_ends_the_siblings_at_once(place: Any, stage: Any) -> None:
    async with stage(place) as it:
        blocks = {"a": "sleep 60", "b": "sleep 0.3; exit 1", "c": "sleep 60", "next": "true"}
        report = await it.session.run(it.plan(blocks, [{"blocks": ["a", "b", "c"]}, "next"]))
        assert report.status == "failed"
        assert statuses(report) == {
            "a": ("failed", "sibling-failed"),
            "b": ("failed", "error"),
            "c": ("failed", "sibling-failed"),
            "next": ("skipped", "earlier-failure"),
        }
        failed, lane = by_block(it.messages("execution:block-error"))["b"], it.messages("execution:lane-complete")[0]
        assert at(lane) - at(failed) <= 1.0
        for end in report.receipt.containers:
            await it.until("container:state-change", name=end.name, toState="dormant")


async def test_the_merged_output_of_a_lane_is_the_input_of_the_next(place: Any, stage: Any) -> None:
    async with stage(place) as it:
        blocks = {
            "one": """sleep 0.2; echo '{"n": 1}' > $WARMLANE_OUTPUT""",
            "two": "echo 2 > $WARMLANE_OUTPUT",
            "sum": "cat $WARMLANE_INPUT > $WARMLANE_OUTPUT",
        }
        report = await it.session.run(it.plan(blocks, [{"blocks": ["one", "two"]}, "sum"]))
        assert report.outputs["sum"] == {"one": {"n": 1}, "two": 2}
        assert list(report.outputs["sum"]) == ["one", "two"]


async def test_one_container_runs_a_whole_lane_side_by_side(place: Any, stage: Any) -> None:
    async with stage(place) as it:
        blocks = {"a": "sleep 0.5; echo $PPID", "b": "sleep 0.5", "c": "sleep 0.5"}
        plan = it.plan(blocks, [{"blocks": ["a", "b", "c"]}], parallelismModel="single-container")
        report = await it.session.run(plan)
        assert report.status == "completed"
        assert len({result.container_id for result in report.results}) == 1
        started, ended = it.messages("execution:block-start"), it.messages("execution:block-complete")
        assert max(map(at, started)) < min(map(at, ended))
        assert len(it.session.pool_status().containers) == 1


async def test_a_container_that_died_in_its_sleep_is_replaced(place: Any, stage: Any) -> None:
    async with stage(place) as it:
        plan = it.plan({"a": "true"}, ["a"])
        await it.session.run(plan)
        name = (await it.until("container:state-change", toState="dormant"))["payload"]["name"]
        it.kill(name)
        await it.until("container:state-change", name=name, toState="terminated")
        report = await it.session.run(plan)
        assert report.status == "completed"
        assert report["a"].start is not None
        assert report["a"].start.cause == "cold"
