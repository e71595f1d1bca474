"""Clients that do what they should not. Whatever it is: the others, the listener and the engine do not notice."""

from __future__ import annotations

import json
import logging
import socket as stdlib_socket
import struct
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import h11
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from warmlane.bus import Bus
from warmlane.errors import MonitorAddressError
from warmlane.events import BlockLog
from warmlane.monitor.server import Monitor, serve_monitor

Serve = Callable[..., AbstractAsyncContextManager[Monitor]]
Connect = Callable[[str], AbstractAsyncContextManager[WebSocketConnection]]

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def line(number: int, *, size: int = 0) -> BlockLog:
    return BlockLog(block_id="b", container_id="c1", stream="stdout", text=f"{number}" + "x" * size)


def handshake(port: int, path: str = "/ws", method: str = "GET", **changes: str | None) -> bytes:
    """The head of an upgrade, with some of its fields changed, added or (None) left out."""
    fields: dict[str, str | None] = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def frame(opcode: int, payload: bytes = b"") -> bytes:
    """A masked frame with a mask of zeros."""
    length = struct.pack("!B", 0x80 | len(payload)) if len(payload) < 126 else struct.pack("!BH", 0xFE, len(payload))
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


async def exchange(port: int, data: bytes) -> tuple[int, dict[str, str], Any]:
    """Sends this, reads to the end of the connection; status, fields and JSON body of the answer."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(data)
        answer = b"".join([piece async for piece in stream])
    connection = h11.Connection(h11.CLIENT)
    method = "HEAD" if data.startswith(b"HEAD") else "GET"
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(answer)
    connection.receive_data(b"")
    response, body = connection.next_event(), b""
    assert isinstance(response, h11.Response), answer
    while isinstance(event := connection.next_event(), h11.Data):
        body += bytes(event.data)
    fields = {name.decode(): value.decode() for name, value in response.headers}
    return response.status_code, fields, json.loads(body) if body else None


async def upgraded(stream: trio.SocketStream, port: int) -> None:
    """A raw connection that has become a WebSocket, and reads no further than that."""
    await stream.send_all(handshake(port))
    assert (await stream.receive_some(12)).startswith(b"HTTP/1.1 101")


async def assert_well(bus: Bus, monitor: Monitor, connect: Connect) -> None:
    """A well-behaved client finds everything as it should be."""
    async with connect(monitor.url) as socket:
        hello = json.loads(await socket.get_message())
        assert hello["channel"] == "monitor:hello"
        sent = bus.publish(line(0))
        assert json.loads(await socket.get_message()) == sent.message
    assert (await exchange(monitor.port, handshake(monitor.port, "/healthz")))[0] == 200


async def read_out(stream: trio.SocketStream) -> bytes:
    """All that comes until the connection ends, in whatever way."""
    read = b""
    try:
        async for piece in stream:
            read += piece
    except trio.BrokenResourceError:
        pass
    return read


# Requests that are answered


async def test_healthz_and_root_say_what_is_here(serve: Serve) -> None:
    async with serve(Bus(), "s-7") as monitor:
        get = f"GET /healthz HTTP/1.1\r\nHost: localhost:{monitor.port}\r\n\r\n".encode()
        status, fields, body = await exchange(monitor.port, get)
        assert (status, body["status"], body["session"], body["version"]) == (200, "ok", "s-7", "0.1.0")
        assert (fields["content-type"], fields["connection"]) == ("application/json", "close")
        status, _, body = await exchange(monitor.port, get.replace(b"/healthz", b"/"))
        assert (status, body["session"], list(body["see"])) == (200, "s-7", ["/ws", "/healthz"])


@pytest.mark.parametrize(
    ("path", "method", "changes", "status"),
    [
        pytest.param("/nothing", "GET", {}, 404, id="unknown path"),
        pytest.param("http://127.0.0.1/ws", "GET", {}, 404, id="a proxy's request"),
        pytest.param("/healthz", "POST", {}, 405, id="wrong method"),
        pytest.param("/ws", "HEAD", {}, 405, id="wrong method without a body to answer with"),
        pytest.param("/ws", "GET", {"Upgrade": None, "Connection": None}, 426, id="plain GET on /ws"),
        pytest.param("/ws", "GET", {"Sec_WebSocket_Version": "8"}, 426, id="an old draft"),
        pytest.param("/ws", "GET", {"Sec_WebSocket_Key": None}, 400, id="no key"),
        pytest.param("/ws", "GET", {"Sec_WebSocket_Key": "short"}, 400, id="a key that is none"),
        pytest.param("/ws", "GET", {"Content_Length": "5"}, 400, id="a handshake with a body"),
        pytest.param("/ws", "GET", {"Sec_WebSocket_Protocol": "warmlane.v0, chat"}, 400, id="foreign subprotocol"),
        pytest.param("/ws?after=x", "GET", {}, 400, id="after is no number"),
        pytest.param("/ws?after=", "GET", {}, 400, id="after is empty"),
        pytest.param("/ws?after=1&after=2", "GET", {}, 400, id="after twice"),
        pytest.param("/ws?after=-1", "GET", {}, 400, id="after is negative"),
        pytest.param(f"/ws?after={'9' * 400}", "GET", {}, 400, id="after is absurd"),
        pytest.param("/ws", "GET", {"Host": "evil.example:{port}"}, 403, id="rebound name"),
        pytest.param("/ws", "GET", {"Host": "127.0.0.1:1"}, 403, id="another port"),
        pytest.param("/ws", "GET", {"Host": "127.0.0.1"}, 403, id="no port"),
        pytest.param("/ws", "GET", {"Host": "127.0.0.1.evil.example:{port}"}, 403, id="a name like an address"),
        pytest.param("/ws", "GET", {"Host": "u@127.0.0.1:{port}"}, 403, id="a user in the host"),
        pytest.param("/healthz", "GET", {"Host": "evil.example:{port}"}, 403, id="rebound name, plain request"),
        pytest.param("/ws", "GET", {"Host": None}, 400, id="no host"),
        pytest.param("/ws", "GET", {"Origin": "https://evil.example"}, 403, id="foreign page"),
        pytest.param("/ws", "GET", {"Origin": "null"}, 403, id="sandboxed page"),
        pytest.param("/ws", "GET", {"Origin": ""}, 403, id="empty origin"),
        pytest.param("/ws", "GET", {"Origin": "http://localhost:1"}, 403, id="page of another local port"),
        pytest.param("/ws", "GET", {"Origin": "file://127.0.0.1:{port}"}, 403, id="page of another scheme"),
    ],
)
async def test_what_is_refused(
    serve: Serve, path: str, method: str, changes: dict[str, str | None], status: int
) -> None:
    async with serve(Bus()) as monitor:
        fields = {name: value and value.replace("{port}", str(monitor.port)) for name, value in changes.items()}
        got, _, body = await exchange(monitor.port, handshake(monitor.port, path, method, **fields))
        assert got == status
        assert method == "HEAD" or body["error"]


@pytest.mark.parametrize(
    "changes",
    [
        {"Host": "localhost:{port}"},
        {"Host": "LOCALHOST:{port}", "Origin": "http://localhost:{port}"},
        {"Host": "[::1]:{port}"},
        {"Origin": "http://127.0.0.1:{port}"},
        {"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket"},
        {"Sec_WebSocket_Protocol": "chat, warmlane.v1"},
    ],
)
async def test_what_is_admitted(serve: Serve, changes: dict[str, str]) -> None:
    async with serve(Bus()) as monitor, await trio.open_tcp_stream("127.0.0.1", monitor.port) as stream:
        fields = {name: value.replace("{port}", str(monitor.port)) for name, value in changes.items()}
        await stream.send_all(handshake(monitor.port, **fields))
        assert (await stream.receive_some(12)).startswith(b"HTTP/1.1 101")


async def test_garbage_and_huge_heads_are_answered_and_dropped(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    async with serve(bus) as monitor:
        assert (await exchange(monitor.port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n"))[0] == 400
        huge = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000
        assert (await exchange(monitor.port, huge))[0] == 431
        await assert_well(bus, monitor, connect)


async def test_a_head_that_does_not_come_is_not_waited_for(serve: Serve) -> None:
    async with serve(Bus(), head=0.05) as monitor:
        assert (await exchange(monitor.port, b"GET /ws HTTP/1.1\r\nHost: "))[0] == 408
        assert (await exchange(monitor.port, b" "))[0] in (400, 408)


async def test_a_slow_head_holds_up_nobody_and_not_the_end(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    async with AsyncExitStack() as stack, serve(bus, head=60, close=60) as monitor:
        for _ in range(20):
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", monitor.port))
            await stream.send_all(b"GET")
        await assert_well(bus, monitor, connect)


async def test_beyond_the_cap_one_is_told_so(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    async with serve(bus, clients=1) as monitor:
        async with connect(monitor.url) as socket:
            await socket.get_message()
            status, fields, _ = await exchange(monitor.port, handshake(monitor.port))
            assert (status, fields["retry-after"]) == (503, "5")
        await trio.testing.wait_all_tasks_blocked(0.05)
        await assert_well(bus, monitor, connect)


async def test_beyond_the_cap_of_connections_one_is_closed_unheard(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    async with serve(bus, connections=1) as monitor:
        async with await trio.open_tcp_stream("127.0.0.1", monitor.port) as first:
            await first.send_all(b"GET")
            async with await trio.open_tcp_stream("127.0.0.1", monitor.port) as second:
                assert await second.receive_some() == b""
        await trio.testing.wait_all_tasks_blocked(0.05)
        async with connect(monitor.url) as socket:
            assert await socket.get_message()


async def test_before_there_is_a_session_one_is_told_to_come_again() -> None:
    with trio.fail_after(20):
        async with serve_monitor(None) as monitor:
            status, fields, body = await exchange(monitor.port, handshake(monitor.port))
            assert (status, fields["retry-after"]) == (503, "1")
            assert "still being opened" in body["error"]


# Watchers that misbehave


async def test_one_that_speaks_is_sent_away(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    async with serve(bus) as monitor:
        async with connect(monitor.url) as socket:
            await socket.get_message()
            await socket.send_message('{"channel":"execution:abort"}')
            with pytest.raises(ConnectionClosed) as closed:
                await socket.get_message()
            assert closed.value.reason is not None
            assert (closed.value.reason.code, closed.value.reason.reason) == (1008, "a monitor may only look")
        await assert_well(bus, monitor, connect)


async def test_one_that_speaks_at_length_is_sent_away(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    async with serve(bus) as monitor:
        async with connect(monitor.url) as socket:
            await socket.get_message()
            await socket.send_message("x" * 5000)
            with pytest.raises(ConnectionClosed) as closed:
                await socket.get_message()
            assert closed.value.reason is not None
            assert closed.value.reason.code == 1009
        await assert_well(bus, monitor, connect)


async def test_frames_that_break_the_protocol_end_only_their_connection(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    async with serve(bus) as monitor:
        for wrong in (b"\xff" * 64, b"\x81\x05hello", frame(0x1, b"\xff\xfe"), frame(0x3)):
            async with await trio.open_tcp_stream("127.0.0.1", monitor.port) as stream:
                await upgraded(stream, monitor.port)
                await stream.send_all(wrong)
                await read_out(stream)
        await assert_well(bus, monitor, connect)


async def test_a_ping_while_we_close_ends_only_its_connection(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """The peer answers our goodbye with pings: the library raises out of its reader."""
    caplog.set_level(logging.DEBUG, "warmlane.monitor")
    bus = Bus()
    async with serve(bus) as monitor:
        async with await trio.open_tcp_stream("127.0.0.1", monitor.port) as stream:
            await upgraded(stream, monitor.port)
            await stream.send_all(frame(0x1, b"sends us away"))
            read = b""
            while not read.endswith(b"a monitor may only look"):
                read += await stream.receive_some()
            await stream.send_all(frame(0x9, b"ping"))
            await read_out(stream)
        await assert_well(bus, monitor, connect)
    assert ["LocalProtocolError" in record.getMessage() for record in caplog.records] == [True]


async def test_pings_are_answered(serve: Serve, connect: Connect) -> None:
    async with serve(Bus()) as monitor, connect(monitor.url) as socket:
        await socket.ping(b"there?")


async def test_resets_at_any_moment_end_only_their_connection(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    bus = Bus()
    async with serve(bus) as monitor:
        upgrade = handshake(monitor.port)
        for said in (b"", b"GET /w", upgrade[:40], upgrade, upgrade + frame(0x9), upgrade + frame(0x8)):
            stream = await trio.open_tcp_stream("127.0.0.1", monitor.port)
            await stream.send_all(said)
            stream.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, struct.pack("ii", 1, 0))
            await stream.aclose()
            bus.publish(line(1))
        await assert_well(bus, monitor, connect)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert monitor.watching == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_half_closed_watcher_is_let_go(serve: Serve) -> None:
    async with serve(Bus()) as monitor, await trio.open_tcp_stream("127.0.0.1", monitor.port) as stream:
        await upgraded(stream, monitor.port)
        await stream.send_eof()
        await read_out(stream)
        assert monitor.watching == 0


async def test_one_that_does_not_answer_pings_is_dropped(serve: Serve) -> None:
    """As a machine would that lost its network: the connection stays, and nobody is there."""
    async with (
        serve(Bus(), heartbeat=0.01, pong=0.05) as monitor,
        await trio.open_tcp_stream("127.0.0.1", monitor.port) as stream,
    ):
        await upgraded(stream, monitor.port)
        await read_out(stream)


async def test_one_that_answers_pings_is_kept(serve: Serve, connect: Connect) -> None:
    bus = Bus()
    async with serve(bus, heartbeat=0.001, pong=10) as monitor, connect(monitor.url) as socket:
        await socket.get_message()
        for _ in range(20):
            await socket.ping()
        sent = bus.publish(line(1))
        assert json.loads(await socket.get_message()) == sent.message
        bus.close()
        with pytest.raises(ConnectionClosed):
            await socket.get_message()


async def test_one_that_never_reads_is_dropped_and_the_others_hear_everything(serve: Serve, connect: Connect) -> None:
    bus = Bus(keep=20)
    async with serve(bus, send=0.2) as monitor, AsyncExitStack() as stack:
        for _ in range(5):
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", monitor.port))
            await upgraded(stream, monitor.port)
        async with connect(monitor.url) as socket:
            await socket.get_message()
            number = 0
            while monitor.watching > 1:
                number += 1
                sent = bus.publish(line(number, size=100_000))
                assert json.loads(await socket.get_message()) == sent.message


async def test_closing_does_not_wait_for_those_who_do_not_read(serve: Serve) -> None:
    bus = Bus()
    async with AsyncExitStack() as stack:
        async with serve(bus, close=0.1, send=60) as monitor:
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", monitor.port))
            await upgraded(stream, monitor.port)
            for number in range(200):
                bus.publish(line(number, size=100_000))
            await trio.testing.wait_all_tasks_blocked(0.01)
            begun = trio.current_time()
        assert trio.current_time() - begun < 5


async def test_our_own_mistake_is_logged_and_costs_one_connection(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    bus = Bus()
    async with serve(bus) as monitor:
        async with connect(monitor.url) as socket:
            await socket.get_message()
            broken = bus.publish(BlockLog(block_id="b", container_id="c", stream="stdout", text="x"))
            vars(broken)["json"] = object()
            with pytest.raises(ConnectionClosed):
                await socket.get_message()
        await assert_well(bus, monitor, connect)
    assert [record.levelname for record in caplog.records if record.name.startswith("warmlane")] == ["ERROR"]


# Where it listens


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("0.0.0.0", "it would be open to other machines"),
        ("::", "it would be open to other machines"),
        ("192.0.2.1", "it would be open to other machines"),
        ("example.com", "names other than 'localhost' are not looked up"),
        ("nowhere.invalid", "names other than 'localhost' are not looked up"),
        ("", "names other than 'localhost' are not looked up"),
    ],
)
async def test_only_loopback_is_listened_on(host: str, said: str) -> None:
    with pytest.raises(MonitorAddressError, match=f"{said}; write 127.0.0.1, or another loopback address$"):
        async with serve_monitor(None, host):
            raise AssertionError("it listens")


async def test_a_port_that_is_taken_is_one_sentence(serve: Serve) -> None:
    async with serve(Bus()) as monitor:
        with pytest.raises(MonitorAddressError, match=f"127.0.0.1:{monitor.port}: another program listens there"):
            async with serve(Bus(), port=monitor.port):
                raise AssertionError("it listens")
