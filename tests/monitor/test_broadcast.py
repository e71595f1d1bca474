"""What watchers hear: hello, every event in order, what they missed, and goodbye."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from warmlane import _version
from warmlane.bus import Bus
from warmlane.events import BlockLog, ExecutionCompleted, MonitorLost
from warmlane.monitor.server import Monitor
from warmlane.records import Receipt

Serve = Callable[..., AbstractAsyncContextManager[Monitor]]
Connect = Callable[[str], AbstractAsyncContextManager[WebSocketConnection]]


def line(number: int, *, size: int = 0) -> BlockLog:
    return BlockLog(block_id="b", container_id="c1", stream="stdout", text=f"{number}" + "x" * size)


COMPLETE = ExecutionCompleted(status="completed", results=(), duration=1.0, receipt=Receipt(settled=0.0))


async def hear(socket: WebSocketConnection) -> dict[str, Any]:
    message = json.loads(await socket.get_message())
    assert isinstance(message, dict)
    return message


async def hear_all(socket: WebSocketConnection) -> tuple[list[dict[str, Any]], int]:
    """All messages up to the goodbye, and its code."""
    messages: list[dict[str, Any]] = []
    try:
        while True:
            messages.append(await hear(socket))
    except ConnectionClosed as error:
        reason = error.reason
    assert reason is not None
    return messages, reason.code


async def test_hello_comes_first_and_carries_the_snapshot(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    bus.publish(line(1))
    async with serve(bus) as monitor, connect(monitor.url) as socket:
        assert socket.subprotocol == "warmlane.v1"
        hello = await hear(socket)
    assert list(hello) == ["channel", "seq", "at", "executionId", "payload"]
    assert (hello["channel"], hello["seq"], hello["executionId"]) == ("monitor:hello", 1, None)
    assert hello["at"].endswith("Z")
    payload = hello["payload"]
    assert (payload["sessionId"], payload["runtime"], payload["version"]) == ("s-1", "fake", _version.__version__)
    assert payload["pool"] == {
        "revision": 1,
        "containers": [
            {
                "id": "c1",
                "name": "wl-c1",
                "state": "dormant",
                "phase": "dormant",
                "image": "img:1",
                "blockId": None,
                "executionId": None,
                "port": None,
                "createdAt": "1970-01-01T00:00:01.000Z",
                "since": "1970-01-01T00:00:02.000Z",
                "dormantSince": None,
                "uses": 3,
                "lastError": None,
            }
        ],
        "counts": {"dormant": 1},
        "maxContainers": 10,
        "waiting": 0,
        "stats": {"hit": 0, "cooling": 0, "wake": 1, "cold": 0, "readyShare": 0.0},
    }


async def test_every_event_from_then_on_comes_in_order(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    async with serve(bus) as monitor, connect(monitor.url) as socket:
        await hear(socket)
        sent = [bus.publish(line(number), "x-1") for number in range(50)]
        heard = [await hear(socket) for _ in sent]
    assert heard == [envelope.message for envelope in sent]


async def test_events_are_encoded_once_however_many_watch(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    async with serve(bus) as monitor, connect(monitor.url) as one, connect(monitor.url) as other:
        await hear(one)
        await hear(other)
        envelope = bus.publish(line(1))
        vars(envelope)["json"] = '{"encoded":"before"}'
        assert [await hear(one), await hear(other)] == [{"encoded": "before"}] * 2


async def test_after_resumes_behind_that_event(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    sent = [bus.publish(line(number)) for number in range(5)]
    async with serve(bus) as monitor, connect(f"{monitor.url}?after=2") as socket:
        hello = await hear(socket)
        assert (hello["seq"], hello["payload"]["pool"]["revision"]) == (2, 5)
        assert [await hear(socket) for _ in range(3)] == [envelope.message for envelope in sent[2:]]


async def test_after_a_number_yet_to_come_means_from_now_on(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    bus.publish(line(1))
    async with serve(bus) as monitor, connect(f"{monitor.url}?after=99") as socket:
        assert (await hear(socket))["seq"] == 1
        bus.publish(line(2))
        assert (await hear(socket))["seq"] == 2


async def test_what_the_ring_no_longer_has_is_counted_and_followed_by_the_pool(serve: Serve, connect: Connect) -> None:
    bus = Bus(keep=10)
    for number in range(30):
        bus.publish(line(number))
    async with serve(bus) as monitor, connect(f"{monitor.url}?after=5") as socket:
        await hear(socket)
        lost, pool, first = [await hear(socket) for _ in range(3)]
    assert (lost["channel"], lost["payload"]["count"], lost["seq"]) == ("monitor:lost", 15, 20)
    assert (pool["channel"], pool["payload"]["revision"], pool["seq"]) == ("execution:pool-status", 30, 20)
    assert first["seq"] == 21


async def test_a_slow_reader_is_told_what_it_lost_and_every_event_is_accounted_for(
    serve: Serve, connect: Connect
) -> None:
    bus = Bus(keep=100)
    async with serve(bus) as monitor, connect(monitor.url) as socket:
        await hear(socket)
        for number in range(400):
            bus.publish(line(number, size=50_000))
            await trio.lowlevel.checkpoint()
        last = bus.publish(COMPLETE)
        heard = [await hear(socket)]
        while heard[-1]["seq"] < last.seq:
            heard.append(await hear(socket))
    lost = [message for message in heard if message["channel"] == "monitor:lost"]
    events = [message for message in heard if message["channel"] in ("execution:block-log", "execution:complete")]
    assert lost
    for message in lost:
        pool = heard[heard.index(message) + 1]
        assert (pool["channel"], pool["seq"]) == ("execution:pool-status", message["seq"])
    assert len(events) + sum(message["payload"]["count"] for message in lost) == last.seq
    assert [message["seq"] for message in heard] == sorted(message["seq"] for message in heard)
    assert heard[-1]["channel"] == "execution:complete"


async def test_the_end_of_the_session_comes_after_all_it_had_to_say(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    async with serve(bus) as monitor, connect(monitor.url) as socket:
        await hear(socket)
        for number in range(200):
            bus.publish(line(number))
        bus.publish(COMPLETE)
        bus.close()
        messages, code = await hear_all(socket)
    assert (len(messages), messages[-1]["channel"], code) == (201, "execution:complete", 1001)


async def test_the_end_of_the_monitor_comes_after_all_that_was_published(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    heard: list[tuple[list[dict[str, Any]], int]] = []

    async def watch(url: str, task_status: trio.TaskStatus[None]) -> None:
        async with connect(url) as socket:
            await hear(socket)
            task_status.started()
            heard.append(await hear_all(socket))

    async with trio.open_nursery() as nursery, serve(bus) as monitor:
        url = monitor.url
        for _ in range(3):
            await nursery.start(watch, url)
        for number in range(200):
            bus.publish(line(number))
        bus.publish(COMPLETE)
    assert [(len(messages), messages[-1]["channel"], code) for messages, code in heard] == [
        (201, "execution:complete", 1001)
    ] * 3


async def test_a_cancelled_session_still_has_the_last_word(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    heard: list[tuple[list[dict[str, Any]], int]] = []

    async def watch(url: str, task_status: trio.TaskStatus[None]) -> None:
        async with connect(url) as socket:
            await hear(socket)
            task_status.started()
            heard.append(await hear_all(socket))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with serve(bus) as monitor:
                url = monitor.url
                await nursery.start(watch, url)
                scope.cancel()
                try:
                    await trio.sleep_forever()
                finally:
                    bus.publish(COMPLETE)
    [(messages, code)] = heard
    assert ([message["channel"] for message in messages], code) == (["execution:complete"], 1001)


@pytest.mark.parametrize("turns", range(12))
async def test_cancelled_while_it_opens_it_neither_hangs_nor_keeps_its_port(serve: Serve, turns: int) -> None:
    async def cancel(scope: trio.CancelScope) -> None:
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel, nursery.cancel_scope)
            async with serve(Bus()):
                await trio.sleep_forever()


async def test_an_error_of_the_body_leaves_as_it_came(serve: Serve) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with serve(Bus()):
            raise KeyError("mine")


async def test_two_hundred_watchers_hear_the_same(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    async with serve(bus) as monitor, AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(connect(monitor.url)) for _ in range(200)]
        for socket in sockets:
            await hear(socket)
        sent = [bus.publish(line(number)) for number in range(10)]
        for socket in sockets:
            assert [await hear(socket) for _ in sent] == [envelope.message for envelope in sent]
        assert monitor.watching == 200


async def test_publishing_never_waits(serve: Serve, connect: Connect) -> None:
    """However far a watcher is behind, an event is out before any other task has run."""
    bus = Bus(keep=50)
    async with serve(bus) as monitor, connect(monitor.url) as socket:
        await hear(socket)
        for number in range(500):
            with trio.testing.assert_no_checkpoints():
                envelope = bus.publish(line(number, size=20_000))
            assert envelope.seq == number + 1
            await trio.lowlevel.checkpoint()


async def test_lost_is_an_event_of_its_own_for_a_feed_of_the_bus() -> None:
    """What the monitor relies on: the lapped feed says so, and stands behind what it lost."""
    bus = Bus(keep=2)
    with bus.feed(after=0) as feed:
        for number in range(5):
            bus.publish(line(number))
        assert feed.behind == 5
        envelope = feed.receive_nowait()
        assert envelope is not None
        assert envelope.event == MonitorLost(count=3)
        assert (feed.position, feed.behind) == (3, 2)
