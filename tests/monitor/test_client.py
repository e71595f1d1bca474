"""The client of a monitor: it hears everything once, comes back by itself, and says clearly what is wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import pytest
import trio
from trio_websocket import ConnectionClosed, wrap_server_stream

from warmlane.bus import Bus
from warmlane.errors import WatchError
from warmlane.events import BlockLog
from warmlane.monitor.client import Patience, watch
from warmlane.monitor.server import Monitor

Serve = Callable[..., AbstractAsyncContextManager[Monitor]]

QUICK = Patience(connect=0.2, first_pause=0.01, longest_pause=0.02, give_up=5)


def line(number: int) -> BlockLog:
    return BlockLog(block_id="b", container_id="c1", stream="stdout", text=str(number))


@asynccontextmanager
async def listening(handler: Callable[[trio.SocketStream], Awaitable[object]]) -> AsyncGenerator[str]:
    """The address of something that is no monitor."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, handler, [listener])
        yield f"127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def test_all_messages_come_and_end_with_the_session(serve: Serve) -> None:
    bus = Bus()
    async with serve(bus) as monitor, watch(monitor.url) as messages:
        hello = await messages.receive()
        assert hello["channel"] == "monitor:hello"
        sent = [bus.publish(line(number)) for number in range(20)]
        bus.close()
        assert [message async for message in messages] == [envelope.message for envelope in sent]


class Cutter:
    """A way to a monitor that the test can cut."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[bytes] = []
        self._scopes: list[trio.CancelScope] = []

    async def __call__(self, near: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self._scopes.append(scope)
            async with await trio.open_tcp_stream("127.0.0.1", self.port) as far, trio.open_nursery() as nursery:
                nursery.start_soon(self._pass_on, far, near)
                await self._pass_on(near, far)
                nursery.cancel_scope.cancel()

    async def _pass_on(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        try:
            async for data in source:
                if data.startswith(b"GET"):
                    self.asked.append(bytes(data.split()[1]))
                    data = data.replace(data.split(b"Host: ")[1].split(b"\r\n")[0], f"localhost:{self.port}".encode())
                await sink.send_all(data)
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    def cut(self) -> None:
        for scope in self._scopes:
            scope.cancel()


async def test_it_comes_back_for_what_it_missed(serve: Serve) -> None:
    bus = Bus()
    async with serve(bus) as monitor:
        cutter = Cutter(monitor.port)
        async with listening(cutter) as address, watch(address, patience=QUICK) as messages:
            await messages.receive()
            first = bus.publish(line(1))
            assert await messages.receive() == first.message
            cutter.cut()
            missed = [bus.publish(line(number)) for number in (2, 3)]
            hello = await messages.receive()
            assert (hello["channel"], hello["seq"]) == ("monitor:hello", first.seq)
            assert [await messages.receive() for _ in missed] == [envelope.message for envelope in missed]
    assert cutter.asked == [b"/ws", b"/ws?after=1"]


async def test_it_gives_up_if_the_monitor_does_not_come_back(serve: Serve) -> None:
    patience = Patience(first_pause=0.01, longest_pause=0.02, give_up=0.1)
    async with serve(Bus()) as monitor, trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        cutter = Cutter(monitor.port)
        address = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        door = trio.CancelScope()

        async def listen() -> None:
            with door:
                await trio.serve_listeners(cutter, [listener])

        async def lose_it() -> None:
            async with watch(address, patience=patience) as messages:
                await messages.receive()
                door.cancel()
                await messages.receive()

        nursery.start_soon(listen)
        with pytest.raises(WatchError, match="the connection broke, and does not come back: nothing listens there"):
            await lose_it()


async def test_another_session_at_the_same_place_is_begun_anew(serve: Serve) -> None:
    """What it asks for then means nothing; it hears hello, and goes on from there."""
    old, new = Bus(), Bus()
    for number in range(5):
        old.publish(line(number))
    async with serve(old, "s-1") as before, serve(new, "s-2") as behind:
        cutter = Cutter(before.port)
        async with listening(cutter) as address, watch(address, patience=QUICK) as messages:
            assert (await messages.receive())["seq"] == 5
            cutter.port = behind.port
            cutter.cut()
            hello = await messages.receive()
            assert (hello["seq"], hello["payload"]["sessionId"]) == (0, "s-2")
            sent = new.publish(line(1))
            assert await messages.receive() == sent.message


async def test_nothing_listens_there() -> None:
    with pytest.raises(
        WatchError, match=r"^cannot watch ws://127\.0\.0\.1:1/ws: nothing listens there; give the address that"
    ):
        async with watch("127.0.0.1:1") as messages:
            await messages.receive()


async def test_a_wrong_path_is_said_in_the_monitors_words(serve: Serve) -> None:
    async with serve(Bus()) as monitor:
        with pytest.raises(WatchError, match="it says: there is nothing here; watch at /ws"):
            async with watch(monitor.url + "/deeper") as messages:
                await messages.receive()


async def says(stream: trio.SocketStream, data: bytes) -> None:
    await stream.receive_some()
    await stream.send_all(data)
    await stream.send_eof()
    async for _ in stream:
        pass


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "the answer was HTTP 200"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "the answer was HTTP 404"),
        (b'HTTP/1.1 403 No\r\nContent-Length: 26\r\n\r\n{"error": "no\\u001b[31m!"}', r"it says: no\\x1b\[31m!"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not speak WebSocket"),
        (b"", "what listens there does not answer"),
    ],
)
async def test_what_is_no_monitor_is_told_apart(answer: bytes, said: str) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await says(stream, answer)

    async with listening(handler) as address:
        with pytest.raises(WatchError, match=said):
            async with watch(address, patience=QUICK) as messages:
                await messages.receive()


async def websocket(stream: trio.SocketStream, messages: list[object], subprotocol: str | None = "warmlane.v1") -> None:
    async with trio.open_nursery() as nursery:
        request = await wrap_server_stream(nursery, stream)
        socket = await request.accept(subprotocol=subprotocol)
        for message in messages:
            await socket.send_message(json.dumps(message))
        with suppress(ConnectionClosed):
            await socket.get_message()


@pytest.mark.parametrize("message", [[], 1, {"seq": 1}, {"channel": "x"}, {"channel": "x", "seq": "1"}])
async def test_messages_that_are_none_of_ours(message: object) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await websocket(stream, [message])

    async with listening(handler) as address:
        with pytest.raises(WatchError, match="not the messages of a monitor"):
            async with watch(address, patience=QUICK) as messages:
                await messages.receive()


async def test_a_websocket_that_does_not_speak_our_subprotocol() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await websocket(stream, [], subprotocol=None)

    async with listening(handler) as address:
        with pytest.raises(WatchError, match="no Warmlane monitor"):
            async with watch(address, patience=QUICK) as messages:
                await messages.receive()


async def test_leaving_at_any_time_leaves_no_group_behind(serve: Serve) -> None:
    bus = Bus()

    async def fail(url: str) -> None:
        async with watch(url) as messages:
            await messages.receive()
            raise KeyError("mine")

    async with serve(bus) as monitor:
        with pytest.raises(KeyError, match="mine"):
            await fail(monitor.url)
        async with watch(monitor.url):
            pass
        with trio.move_on_after(0.01) as scope:
            async with watch(monitor.url) as messages:
                while True:
                    await messages.receive()
        assert scope.cancelled_caught
