"""Every event's message, key by key, as the design's table has it."""

import json
from typing import Any, get_args

import attrs
import pytest

from warmlane import events, wire
from warmlane.events import (
    BlockCompleted,
    BlockFailed,
    BlockLog,
    BlockStarted,
    ContainerStateChanged,
    Envelope,
    Event,
    ExecutionAborted,
    ExecutionCompleted,
    ExecutionStarted,
    LaneCompleted,
    LaneStarted,
    MonitorHello,
    MonitorLost,
    PoolStatus,
    PullProgress,
    SessionNotice,
)
from warmlane.records import BlockResult, ContainerEnd, ContainerRecord, PoolStats, Receipt, Start

START = Start(cause="wake", queued=0.0, start=0.0125)
RESULT = BlockResult(
    block_id="lint",
    status="succeeded",
    output={"exit_code": 0},
    attempts=1,
    started_at=1771754400.0,
    duration=1.5,
    container_id="c1",
    start=START,
)
SKIPPED = BlockResult(block_id="report", status="skipped", reason="earlier-failure")
RECEIPT = Receipt(
    containers=(ContainerEnd(container_id="c1", name="warmlane-c1", ended="removed", at=0.0),), settled=0.5
)
RECORD = ContainerRecord(
    id="c1", name="warmlane-c1", state="running", phase="cooling", image=None, created_at=0.0, since=1.0, port=9100
)
POOL = PoolStatus(
    revision=3,
    containers=(RECORD,),
    counts={"running": 1},
    max_containers=10,
    waiting=0,
    stats=PoolStats(hit=1, ready_share=1.0),
)

RESULT_WIRE = {
    "blockId": "lint",
    "status": "succeeded",
    "reason": None,
    "output": {"exit_code": 0},
    "error": None,
    "attempts": 1,
    "startedAt": "2026-02-22T10:00:00.000Z",
    "durationMs": 1500.0,
    "containerId": "c1",
    "start": {"cause": "wake", "queuedMs": 0.0, "startMs": 12.5},
}
SKIPPED_WIRE = {
    "blockId": "report",
    "status": "skipped",
    "reason": "earlier-failure",
    "output": None,
    "error": None,
    "attempts": 0,
    "startedAt": None,
    "durationMs": None,
    "containerId": None,
    "start": None,
}
RECEIPT_WIRE = {
    "containers": [{"containerId": "c1", "name": "warmlane-c1", "ended": "removed", "at": "1970-01-01T00:00:00.000Z"}],
    "settledMs": 500.0,
}
RECORD_WIRE = {
    "id": "c1",
    "name": "warmlane-c1",
    "state": "running",
    "phase": "cooling",
    "image": None,
    "blockId": None,
    "executionId": None,
    "port": 9100,
    "createdAt": "1970-01-01T00:00:00.000Z",
    "since": "1970-01-01T00:00:01.000Z",
    "dormantSince": None,
    "uses": 0,
    "lastError": None,
}
POOL_WIRE = {
    "revision": 3,
    "containers": [RECORD_WIRE],
    "counts": {"running": 1},
    "maxContainers": 10,
    "waiting": 0,
    "stats": {"hit": 1, "cooling": 0, "wake": 0, "cold": 0, "readyShare": 1.0},
}

TABLE: list[tuple[Event, str, dict[str, Any]]] = [
    (
        ExecutionStarted(plan_name="p", lanes=(("a",), ("b", "c")), inputs={"git_ref": "main"}, runtime="fake"),
        "execution:started",
        {"planName": "p", "lanes": [["a"], ["b", "c"]], "inputs": {"git_ref": "main"}, "runtime": "fake"},
    ),
    (
        LaneStarted(lane=1, block_ids=("b", "c"), failure_mode="lenient"),
        "execution:lane-start",
        {"lane": 1, "blockIds": ["b", "c"], "failureMode": "lenient"},
    ),
    (
        BlockStarted(block_id="lint", lane=1, container_id="c1", attempt=1, start=START),
        "execution:block-start",
        {
            "blockId": "lint",
            "lane": 1,
            "containerId": "c1",
            "attempt": 1,
            "start": {"cause": "wake", "queuedMs": 0.0, "startMs": 12.5},
        },
    ),
    (
        BlockLog(block_id="lint", container_id="c1", stream="stderr", text="E1"),
        "execution:block-log",
        {"blockId": "lint", "containerId": "c1", "stream": "stderr", "text": "E1", "partial": False},
    ),
    (BlockCompleted(result=RESULT), "execution:block-complete", RESULT_WIRE),
    (BlockCompleted(result=SKIPPED), "execution:block-complete", SKIPPED_WIRE),
    (
        BlockFailed(block_id="lint", error="it exited with code 1", reason="error"),
        "execution:block-error",
        {"blockId": "lint", "error": "it exited with code 1", "reason": "error"},
    ),
    (
        LaneCompleted(lane=1, results=(RESULT, SKIPPED), launch_spread=0.002),
        "execution:lane-complete",
        {"lane": 1, "results": [RESULT_WIRE, SKIPPED_WIRE], "launchSpreadMs": 2.0},
    ),
    (
        ExecutionCompleted(status="completed", results=(RESULT,), duration=2.0, receipt=RECEIPT),
        "execution:complete",
        {"status": "completed", "results": [RESULT_WIRE], "durationMs": 2000.0, "receipt": RECEIPT_WIRE},
    ),
    (
        ExecutionAborted(status="aborted", results=(SKIPPED,), duration=2.0, receipt=RECEIPT),
        "execution:aborted",
        {"status": "aborted", "results": [SKIPPED_WIRE], "durationMs": 2000.0, "receipt": RECEIPT_WIRE},
    ),
    (POOL, "execution:pool-status", POOL_WIRE),
    (
        ContainerStateChanged(
            container_id="c1",
            name="warmlane-c1",
            from_state="dormant",
            to_state="idle",
            phase="idle",
            block_id=None,
            cause="healthy",
            duration=0.02,
            wake=0.02,
        ),
        "container:state-change",
        {
            "containerId": "c1",
            "name": "warmlane-c1",
            "fromState": "dormant",
            "toState": "idle",
            "phase": "idle",
            "blockId": None,
            "cause": "healthy",
            "durationMs": 20.0,
            "coldStartMs": None,
            "wakeMs": 20.0,
        },
    ),
    (
        PullProgress(image="python:3.12", status="Downloading", current=5, total=10),
        "container:pull-progress",
        {"image": "python:3.12", "status": "Downloading", "current": 5, "total": 10},
    ),
    (SessionNotice(text="it rains"), "session:notice", {"text": "it rains"}),
    (
        MonitorHello(session_id="s", runtime="fake", version="0.1", pool=POOL),
        "monitor:hello",
        {"sessionId": "s", "runtime": "fake", "version": "0.1", "pool": POOL_WIRE},
    ),
    (MonitorLost(count=7), "monitor:lost", {"count": 7}),
]


def message(event: Event) -> Envelope:
    return Envelope(seq=5, at=1771754400.0, execution_id="run-1", event=event)


@pytest.mark.parametrize(
    ("event", "channel", "payload"), TABLE, ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_message_of_each_event(event: Event, channel: str, payload: dict[str, Any]) -> None:
    """The whole message, as a value and as the line of JSON that goes out."""
    expected = {
        "channel": channel,
        "seq": 5,
        "at": "2026-02-22T10:00:00.000Z",
        "executionId": "run-1",
        "payload": payload,
    }
    assert message(event).message == expected
    assert json.loads(message(event).json) == expected


def test_the_table_has_every_event_and_no_channel_twice() -> None:
    assert {type(event) for event, _, _ in TABLE} == set(get_args(Event))
    channels = [kind.channel for kind in get_args(Event)]
    assert len(set(channels)) == len(channels)


def test_an_event_outside_any_execution_says_so() -> None:
    envelope = Envelope(seq=1, at=0.0, execution_id=None, event=MonitorLost(count=1))
    assert envelope.message["executionId"] is None


def test_json_is_one_line() -> None:
    """Whatever a block prints, a message stays a line."""
    text = "one\ntwo\r\u2028three\x85"
    line = message(BlockLog(block_id="b", container_id="c", stream="stdout", text=text)).json
    assert "\n" not in line
    assert "\r" not in line
    assert json.loads(line)["payload"]["text"] == text


def test_an_event_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many read it: encoding per reader would dominate a broadcast."""
    encoded: list[object] = []

    def counting(value: object) -> str:
        encoded.append(value)
        return wire.encode(value)

    monkeypatch.setattr(events, "encode", counting)
    envelope = message(POOL)
    assert len({id(envelope.json) for _ in range(100)}) == 1
    assert envelope.message is envelope.message
    assert len(encoded) == 1


@pytest.mark.parametrize("kind", get_args(Event))
def test_events_are_frozen(kind: type[Any]) -> None:
    """An event is complete when it is published; nobody fills it in later."""
    event = next(event for event, _, _ in TABLE if isinstance(event, kind))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(event, attrs.fields(kind)[0].name, None)
