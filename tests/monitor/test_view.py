"""The picture that messages add up to."""

from __future__ import annotations

from typing import Any

from warmlane.monitor.view import KEEP_EXECUTIONS, KEEP_LOG_LINES, View


def view_of(messages: list[dict[str, Any]]) -> View:
    view = View()
    for message in messages:
        view.apply(message)
    return view


def of(story: list[dict[str, Any]], channel: str) -> dict[str, Any]:
    return next(message for message in story if message["channel"] == channel)


def test_a_whole_run(story: list[dict[str, Any]]) -> None:
    view = view_of(story)
    assert (view.session_id, view.runtime, view.seq, view.lost) == ("s-1", "docker", 17, 7)
    assert (view.max_containers, view.waiting, dict(view.counts)) == (10, 2, {"running": 1})
    assert view.stats["readyShare"] == 0.5
    assert {name: record["phase"] for name, record in view.containers.items()} == {"c1": "cooling"}
    assert view.pulls == {}
    assert [(line.block_id, line.stream) for line in view.log] == [("lint", "stdout"), ("tests", "stderr")]
    execution = view.executions["s-1-e1"]
    assert (execution.plan_name, execution.status, execution.duration) == ("release", "failed", 3250.0)
    assert execution.lanes == [["lint", "tests"], ["report"]]
    blocks = {block.id: (block.status, block.attempt, block.duration) for block in execution.blocks.values()}
    assert blocks == {"lint": ("succeeded", 1, 1500.0), "tests": ("failed", 1, 1500.0), "report": ("skipped", 0, None)}
    assert (execution.blocks["tests"].reason, execution.blocks["tests"].error) == ("error", "exit code 3")


def test_a_run_under_way(story: list[dict[str, Any]]) -> None:
    view = view_of(story[:9])
    execution = view.executions["s-1-e1"]
    assert execution.status == "running"
    assert {block.id: block.status for block in execution.blocks.values()} == {
        "lint": "running",
        "tests": "running",
        "report": "waiting",
    }
    start = execution.blocks["tests"].start
    assert start is not None
    assert (start["cause"], execution.blocks["tests"].attempt) == ("cold", 2)


def test_a_pull_is_there_until_it_is_complete(story: list[dict[str, Any]]) -> None:
    assert list(view_of(story[:3]).pulls) == ["img:1"]
    assert view_of(story[:4]).pulls == {}


def test_one_may_begin_to_watch_anywhere(story: list[dict[str, Any]]) -> None:
    whole = view_of(story).executions["s-1-e1"]
    for begin in range(1, len(story)):
        execution = view_of([story[0], *story[begin:]]).executions["s-1-e1"]
        assert {block.id: block.status for block in execution.blocks.values()} == {
            block.id: block.status for block in whole.blocks.values()
        }


def test_an_older_snapshot_does_not_replace_a_newer_one(story: list[dict[str, Any]]) -> None:
    pool = of(story, "execution:pool-status")
    newer = {**pool, "payload": {**pool["payload"], "revision": 9, "waiting": 5}}
    assert view_of([story[0], newer, pool]).waiting == 5


def test_coming_back_to_the_same_session_keeps_what_is_known(story: list[dict[str, Any]]) -> None:
    view = view_of([*story, story[0]])
    assert (view.lost, list(view.executions), view.revision) == (7, ["s-1-e1"], 2)


def test_another_session_begins_a_new_picture(story: list[dict[str, Any]]) -> None:
    hello = {**story[0], "payload": {**story[0]["payload"], "sessionId": "s-2"}}
    view = view_of([*story, hello])
    assert (view.session_id, view.lost, view.executions, list(view.log)) == ("s-2", 0, {}, [])
    assert view.revision == 1


def test_channels_that_are_not_known_are_passed_over(story: list[dict[str, Any]]) -> None:
    assert view_of([{**story[0], "channel": "execution:yet-to-come", "seq": 3}]).seq == 3


def test_what_grows_with_a_session_is_bounded(story: list[dict[str, Any]]) -> None:
    log, started, ended = (of(story, f"execution:{what}") for what in ("block-log", "started", "complete"))
    view = view_of([log] * (KEEP_LOG_LINES + 5))
    assert len(view.log) == KEEP_LOG_LINES
    view.apply({**started, "executionId": "still-runs"})
    for number in range(KEEP_EXECUTIONS + 5):
        view.apply({**started, "executionId": f"e{number}"})
        view.apply({**ended, "executionId": f"e{number}"})
    assert len(view.executions) == KEEP_EXECUTIONS
    assert "still-runs" in view.executions
    assert f"e{KEEP_EXECUTIONS + 4}" in view.executions
