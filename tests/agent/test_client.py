"""The engine's end of the wire: against a real agent, and against servers that are none."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio

from warmlane.agent import client
from warmlane.agent.client import HttpAgent
from warmlane.agent.protocol import BlockCall, Exit, LogLine, Response
from warmlane.errors import ContainerLostError

Serve = Callable[[Callable[[trio.SocketStream, bytes], Awaitable[None]]], Awaitable[HttpAgent]]

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
GOOD = b'{"exit": {"code": 0, "signal": null, "error": null, "fault": null, "output": null}}\n'


def call(**more: Any) -> BlockCall:
    """A call with all that does not matter."""
    said: dict[str, Any] = {
        "run": "r1",
        "execution_id": "e1",
        "block_id": "b1",
        "attempt": 1,
        "output_limit": 1000,
        "terminate_grace": 0.2,
    }
    return BlockCall(**(said | more))


@pytest.fixture
def python() -> str:
    """The client is the engine's: one Python will do."""
    return sys.executable


@pytest.fixture
def http_agent(agent: Any) -> HttpAgent:
    """The client of a real agent."""
    return HttpAgent(f"unix://{agent.address}", "secret", name="c1")


@pytest.fixture
async def serve(nursery: trio.Nursery) -> AsyncIterator[Serve]:
    """Serves by a function that is given the stream and the whole request; returns a client of that."""
    listeners: list[trio.SocketListener] = []

    async def serve(answer: Callable[[trio.SocketStream, bytes], Awaitable[None]]) -> HttpAgent:
        async def handle(stream: trio.SocketStream) -> None:
            async with stream:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += await stream.receive_some(1 << 16)
                head, _, body = request.partition(b"\r\n\r\n")
                length = next(
                    (int(line[16:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
                )
                while len(body) < length:
                    body += await stream.receive_some(1 << 16)
                with suppress(trio.BrokenResourceError):  # the client has hung up
                    await answer(stream, head + b"\r\n\r\n" + body)

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listeners.append(listener)
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        return HttpAgent(f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}", "secret", name="c1")

    yield serve
    nursery.cancel_scope.cancel()


def ignore(_line: LogLine) -> None:
    pass


# A real agent.


async def test_a_block_runs_with_its_log(http_agent: HttpAgent) -> None:
    lines: list[LogLine] = []
    await http_agent.health()
    script = "echo ü; echo err >&2; cat $WARMLANE_INPUT > $WARMLANE_OUTPUT"
    ended = await http_agent.run(call(command=("sh", "-c", script), input={"a": ["ü", 1.5]}), lines.append)
    assert ended == Exit(code=0, output={"a": ["ü", 1.5]})
    said = {LogLine(stream="stdout", text="ü"), LogLine(stream="stderr", text="err")}
    assert (set(lines), len(lines)) == (said, 2)


async def test_failures_of_each_kind_are_told(http_agent: HttpAgent) -> None:
    assert await http_agent.run(call(command=("false",)), ignore) == Exit(code=1, error="exit code 1", fault="error")
    killed = await http_agent.run(call(command=("sh", "-c", "kill -9 $$")), ignore)
    assert killed == Exit(signal=9, error="killed by SIGKILL", fault="signal")
    bad = await http_agent.run(call(command=("sh", "-c", "echo x > $WARMLANE_OUTPUT")), ignore)
    assert (bad.code, bad.fault, bad.output) == (0, "bad-output", None)


async def test_a_long_line_and_a_large_output_come_through(http_agent: HttpAgent) -> None:
    lines: list[LogLine] = []
    limit = 16 * 1024 * 1024
    script = "import os; print('x' * 16777216); output = open(os.environ['WARMLANE_OUTPUT'], 'w');"
    script += "output.write('\"' + 'y' * 16777214 + '\"')"
    ended = await http_agent.run(call(command=(sys.executable, "-c", script), output_limit=limit), lines.append)
    assert ended.output == "y" * (limit - 2)
    assert "".join(line.text for line in lines) == "x" * limit
    assert [line.partial for line in lines] == [True] * 15 + [False]


async def test_the_worst_log_line_fits(http_agent: HttpAgent) -> None:
    """Every byte of it is six in JSON."""
    lines: list[LogLine] = []
    await http_agent.run(call(command=("head", "-c", "3000000", "/dev/zero")), lines.append)
    assert "".join(line.text for line in lines) == "\0" * 3_000_000


async def test_cancelling_hangs_up_and_end_waits_for_the_end(http_agent: HttpAgent, agent: Any) -> None:
    pids: list[int] = []
    printed = trio.Event()

    def note(line: LogLine) -> None:
        pids.append(int(line.text))
        printed.set()

    async with trio.open_nursery() as nursery:
        script = "trap '' TERM; echo $$; while :; do sleep 0.01; done"
        nursery.start_soon(http_agent.run, call(command=("sh", "-c", script)), note)
        await printed.wait()
        nursery.cancel_scope.cancel()
    await http_agent.end("r1")
    assert not os.path.exists(f"/proc/{pids[0]}")  # noqa: ASYNC240 - it blocks nobody
    await http_agent.end("r1")


async def test_cancelling_at_any_moment_leaves_no_block(http_agent: HttpAgent, agent: Any) -> None:
    for number in range(30):
        run = f"r{number}"
        with trio.move_on_after(number / 1500):
            await http_agent.run(call(run=run, command=("sleep", "1000")), ignore)
        with trio.fail_after(10):
            await http_agent.end(run)
    assert agent.health()["runs"] == 0
    assert agent.left() == []


async def test_many_requests_at_once(http_agent: HttpAgent) -> None:
    """More than a pool of httpx takes; a third of them is cancelled."""
    ended: list[Exit] = []

    async def one(number: int) -> None:
        with trio.move_on_after(0.05 if number % 3 == 0 else 60):
            ended.append(await http_agent.run(call(run=f"r{number}", command=("sleep", "0.3")), ignore))

    async with trio.open_nursery() as nursery:
        for number in range(45):
            nursery.start_soon(one, number)
    assert ended == [Exit(code=0)] * 30
    await http_agent.health()


async def test_an_agent_that_refuses_is_lost(agent: Any) -> None:
    stranger = HttpAgent(f"unix://{agent.address}", "wrong", name="c1")
    with pytest.raises(ContainerLostError, match="answered /health with status 401"):
        await stranger.health()
    with pytest.raises(ContainerLostError, match=r"would not run a block \(401\).*token is missing or wrong"):
        await stranger.run(call(command=("true",)), ignore)
    with pytest.raises(ContainerLostError, match="would not end a block"):
        await stranger.end("r1")


async def test_an_agent_that_dies_is_lost(http_agent: HttpAgent, agent: Any) -> None:
    def kill(_line: LogLine) -> None:
        agent.process.kill()
        agent.process.wait()

    with pytest.raises(ContainerLostError, match="broke before the block had ended") as caught:
        await http_agent.run(call(command=("sh", "-c", "echo x; sleep 1000")), kill)
    assert caught.value.name == "c1"
    for ask in (http_agent.health(), http_agent.end("r1"), http_agent.run(call(command=("true",)), ignore)):
        with pytest.raises(ContainerLostError, match="cannot be reached"):
            await ask
    agent.process.returncode = 0  # it did not end by itself


async def test_an_input_that_is_too_large_is_the_blocks_fault(
    http_agent: HttpAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "INPUT_LIMIT", 10)
    assert await http_agent.run(call(command=("true",), input="x" * 8), ignore) == Exit(code=0)
    ended = await http_agent.run(call(command=("true",), input="x" * 9), ignore)
    assert ended == Exit(error="its input is too large: 11 bytes, the limit is 10", fault="error")


# Servers that are no agents of ours.


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "broke before the block had ended"),
        (b'{"log": "stdout", "text": "x"}\n', "broke before the block had ended"),
        (GOOD[:-1], "broke before the block had ended"),
        (b"\n", "sent what no agent sends"),
        (b"hello\n", "sent what no agent sends"),
        (b"\xff\n", "sent what no agent sends"),
        (b"[" * 100_000 + b"\n", "nested too deeply"),
        (b"{}\n", "neither a log line nor an exit"),
        (b"[]\n", "neither a log line nor an exit"),
        (b'{"log": "other", "text": "x"}\n', "neither a log line nor an exit"),
        (b'{"log": "stdout", "text": 1}\n', "neither a log line nor an exit"),
        (b'{"exit": {}}\n', "neither a log line nor an exit"),
        (b'{"exit": {"code": "0", "signal": null, "fault": null}}\n', "neither a log line nor an exit"),
        (b'{"exit": {"code": 0, "signal": null, "fault": "else"}}\n', "neither a log line nor an exit"),
        (b'{"exit": {"code": 0, "signal": null, "fault": null, "error": 1}}\n', "neither a log line nor an exit"),
        (GOOD.replace(b'output": null', b'output": NaN'), "JSON has no NaN"),
        (GOOD.replace(b'output": null', b'output": 1e999'), "a number that is too large"),
        (GOOD.replace(b'output": null', rb'output": "\ud800"'), "sent what no agent sends"),
        (b"x" * 9_000_000, "a line of over"),
    ],
)
async def test_what_no_agent_says_is_the_loss_of_it(serve: Serve, said: bytes, why: str) -> None:
    async def answer(stream: trio.SocketStream, _request: bytes) -> None:
        await stream.send_all(HEAD + said)

    agent = await serve(answer)
    with pytest.raises(ContainerLostError, match=why):
        await agent.run(call(command=("true",)), ignore)


async def test_an_agent_without_an_end_costs_no_memory(serve: Serve) -> None:
    """It sends without a newline, for as long as we listen."""
    sent = 0

    async def answer(stream: trio.SocketStream, _request: bytes) -> None:
        nonlocal sent
        await stream.send_all(HEAD)
        while True:
            await stream.send_all(b"x" * (1 << 16))
            sent += 1 << 16

    agent = await serve(answer)
    with pytest.raises(ContainerLostError, match="a line of over 7340032 bytes"):
        await agent.run(call(command=("true",)), ignore)
    assert sent < 20_000_000


async def test_what_follows_the_exit_does_not_matter(serve: Serve) -> None:
    async def answer(stream: trio.SocketStream, _request: bytes) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + GOOD)

    agent = await serve(answer)
    assert await agent.run(call(command=("true",)), ignore) == Exit(code=0)


async def test_a_request_says_what_the_agent_needs(serve: Serve) -> None:
    requests: list[bytes] = []

    async def answer(stream: trio.SocketStream, request: bytes) -> None:
        requests.append(request)
        await stream.send_all(HEAD + GOOD)

    agent = await serve(answer)
    await agent.run(call(python="m:f", input={"ü": [1]}), ignore)
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /blocks/r1 HTTP/1.1\r\n")
    assert b"Authorization: Bearer secret" in head
    first, _, given = body.partition(b"\n")
    assert json.loads(first) == {
        "execution_id": "e1",
        "block_id": "b1",
        "attempt": 1,
        "command": None,
        "python": "m:f",
        "output_limit": 1000,
        "terminate_grace": 0.2,
    }
    assert json.loads(given) == {"ü": [1]}


async def test_health_of_a_service_is_its_status(serve: Serve) -> None:
    async def answer(stream: trio.SocketStream, request: bytes) -> None:
        status = b"204 No Content" if request.startswith(b"GET /health ") else b"200 OK"
        await stream.send_all(b"HTTP/1.1 " + status + b"\r\n\r\n")

    agent = await serve(answer)
    with pytest.raises(ContainerLostError, match="status 204"):
        await agent.health()


async def test_a_service_that_says_nothing_can_be_left(serve: Serve) -> None:
    async def answer(_stream: trio.SocketStream, _request: bytes) -> None:
        await trio.sleep_forever()

    agent = await serve(answer)
    for ask in (agent.health, lambda: agent.end("r"), lambda: agent.run(call(command=("true",)), ignore)):
        with trio.move_on_after(0.05) as scope:
            await ask()
        assert scope.cancelled_caught


async def test_a_request_to_the_service_of_an_image(serve: Serve) -> None:
    requests: list[bytes] = []

    async def answer(stream: trio.SocketStream, request: bytes) -> None:
        requests.append(request)
        await stream.send_all(
            b"HTTP/1.1 201 Created\r\nX-A: 1\r\nx-a: 2\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
            b'{"a": []}'
        )

    agent = await serve(answer)
    said = await agent.request("POST", "//evil.example/a b?c=d&e=ü%20", {"X-Own": "own", "Host": "me"}, {"b": "ü"})
    assert said == Response(
        status=201,
        headers={"x-a": "1, 2", "content-type": "application/json", "content-length": "9"},
        body={"a": []},
    )
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST //evil.example/a%20b?c=d&e=%C3%BC%20 HTTP/1.1\r\n")
    assert b"X-Own: own" in head
    assert b"Host: me" in head
    assert b"Content-Type: application/json" in head
    assert b"authorization" not in head.lower(), "the token is the agent's"
    assert json.loads(body) == {"b": "ü"}


@pytest.mark.parametrize(
    ("sent", "body"),
    [(b"", ""), (b"text", "text"), (b"\xff", "\\xff"), (b"NaN", "NaN"), (b'"a"', "a"), (b"[1, 2]", [1, 2])],
)
async def test_a_body_is_parsed_if_it_is_json(serve: Serve, sent: bytes, body: Any) -> None:
    async def answer(stream: trio.SocketStream, request: bytes) -> None:
        assert b"content-type" not in request.lower()
        await stream.send_all(HEAD + sent)

    agent = await serve(answer)
    assert (await agent.request("GET", "/", {}, None)).body == body


async def test_a_body_without_an_end_is_not_read(serve: Serve) -> None:
    async def answer(stream: trio.SocketStream, _request: bytes) -> None:
        await stream.send_all(HEAD)
        while True:
            await stream.send_all(b"x" * (1 << 16))

    agent = await serve(answer)
    with pytest.raises(ContainerLostError, match="more than the limit of 16777216 bytes"):
        await agent.request("GET", "/", {}, None)


async def test_what_is_not_http_is_the_loss_of_it(serve: Serve) -> None:
    async def answer(stream: trio.SocketStream, _request: bytes) -> None:
        await stream.send_all(b"SSH-2.0-OpenSSH_9.2\r\n")

    agent = await serve(answer)
    with pytest.raises(ContainerLostError, match="the connection to it broke"):
        await agent.health()
