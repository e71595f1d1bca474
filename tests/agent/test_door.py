"""The agent's door: requests, refusals, and clients that are slow, silent or rude."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import warmlane.agent

MAIN = Path(warmlane.agent.__path__[0], "warmlane_agent", "__main__.py")
BLOCK = {"execution_id": "e", "block_id": "b", "attempt": 1, "output_limit": 10, "terminate_grace": 1}


def read(sock: socket.socket) -> bytes:
    """All until the end."""
    data = b""
    while chunk := sock.recv(1 << 16):
        data += chunk
    return data


def test_health_says_who_it_is(agent: Any) -> None:
    said = agent.health()
    assert said["status"] == "ok"
    assert said["agent"] == 1
    assert said["runs"] == 0
    assert f"/python{said['python']}" in agent.python


def test_it_listens_on_tcp(launch: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    agent = launch(listen=f"tcp://127.0.0.1:{port}")
    assert agent.health()["status"] == "ok"
    assert agent.run("true").exit["code"] == 0


def test_an_address_that_is_taken_has_an_exit_code_of_its_own(python: str, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        (folder / "agent.json").write_text(json.dumps({"listen": listen, "token": "t"}))
        ended = subprocess.run(
            [python, "-I", "-S", MAIN, folder / "agent.json"], check=False, capture_output=True, text=True
        )
    assert (ended.returncode, ended.stderr) == (98, f"cannot listen on {listen}: Address already in use\n")


def test_it_takes_a_descriptor_that_listens(python: str, folder: Path) -> None:
    """Then a client may ask before the agent runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nAuthorization: Bearer t\r\n\r\n")
        (folder / "agent.json").write_text(json.dumps({"listen": "-", "token": "t"}))
        number = listener.fileno()
        with subprocess.Popen(
            [python, "-I", "-S", MAIN, folder / "agent.json", str(number)], pass_fds=[number]
        ) as process:
            assert read(sock).startswith(b"HTTP/1.1 200 OK\r\n")
            process.terminate()
            assert process.wait(10) == 0


def test_nothing_is_done_without_the_token(agent: Any) -> None:
    for token in (None, "", "wrong", "secret2", "Secret"):
        for method, path in (("GET", "/health"), ("POST", "/blocks/r1"), ("DELETE", "/blocks/r1"), ("GET", "/")):
            assert agent.ask(method, path, token=token) == (401, {"error": "the token is missing or wrong"})


REFUSED = [
    ("GET", "/", b"", 404),
    ("GET", "/healthy", b"", 404),
    ("POST", "/health", b"", 404),
    ("POST", "/blocks/", b"", 404),
    ("POST", "/blocks/a/b", b"", 404),
    ("POST", "/blocks/" + "x" * 201, b"", 404),
    ("DELETE", "/blocks/a%20b", b"", 404),
    ("PUT", "/blocks/a", b"", 405),
    ("POST", "/blocks/a", b"", 400),
    ("POST", "/blocks/a", b"{}\nnull", 400),
    ("POST", "/blocks/a", b"[]\nnull", 400),
    ("POST", "/blocks/a", b"\xff\nnull", 400),
    ("POST", "/blocks/a", b"[" * 100_000 + b"\nnull", 400),
    ("POST", "/blocks/a", json.dumps(BLOCK).encode() + b"\nnull", 400),
    ("POST", "/blocks/a", json.dumps({**BLOCK, "command": []}).encode() + b"\nnull", 400),
    ("POST", "/blocks/a", json.dumps({**BLOCK, "command": [1]}).encode() + b"\nnull", 400),
    ("POST", "/blocks/a", json.dumps({**BLOCK, "python": "module"}).encode() + b"\nnull", 400),
    ("POST", "/blocks/a", json.dumps({**BLOCK, "python": 1}).encode() + b"\nnull", 400),
]


def test_what_makes_no_sense_is_refused(agent: Any) -> None:
    for method, path, body, status in REFUSED:
        answered, said = agent.ask(method, path, body)
        assert (answered, bool(said["error"])) == (status, True), (method, path, body[:100])
    assert agent.health()["runs"] == 0


AUTHORIZED = b"POST /blocks/a HTTP/1.1\r\nAuthorization: Bearer secret\r\n"
NO_HTTP = [
    (b"GET /health\r\nAuthorization: Bearer secret\r\n\r\n", 400),
    (b"\r\nAuthorization: Bearer secret\r\n\r\n", 400),
    (AUTHORIZED + b"Transfer-Encoding: chunked\r\n\r\n", 411),
    (AUTHORIZED + b"Content-Length: -1\r\n\r\n", 411),
    (AUTHORIZED + b"Content-Length: 999999999\r\n\r\n", 413),
    (AUTHORIZED + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 413),
    (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, 431),
    (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    (b"\0" * 30_000, 431),
]


def test_what_is_not_our_http_is_refused(agent: Any) -> None:
    for request, status in NO_HTTP:
        with agent.connect() as sock:
            sock.sendall(request)
            assert read(sock).startswith(f"HTTP/1.1 {status} ".encode()), request[:100]


def test_a_refusal_reaches_a_client_that_is_still_sending(agent: Any) -> None:
    with agent.connect() as sock:
        sock.sendall(b"POST /blocks/a HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000)
        assert read(sock).startswith(b"HTTP/1.1 401 ")


def test_a_request_may_come_byte_by_byte(agent: Any) -> None:
    with agent.connect() as sock:
        for byte in b"GET /health HTTP/1.1\r\nauthorization:  Bearer secret \r\n\r\n":
            sock.sendall(bytes([byte]))
        assert read(sock).startswith(b"HTTP/1.1 200 OK\r\n")


def test_silent_clients_hold_up_nobody(agent: Any) -> None:
    """More of them than the agent keeps connections."""
    for _ in range(100):
        agent.connect()
    halves = [agent.connect() for _ in range(20)]
    for sock in halves:
        sock.sendall(b"POST /blocks/a HTTP/1.1\r\nAuthorization: Bearer secret\r\nContent-Length: 1000\r\n\r\nhalf")
    began = time.monotonic()
    agent.health()
    assert agent.run("true").exit["code"] == 0
    assert time.monotonic() - began < 2


def test_the_oldest_of_too_many_clients_is_dropped(agent: Any) -> None:
    first = agent.connect()
    for _ in range(70):
        agent.connect()
    assert first.recv(1) == b""


def test_a_run_id_is_used_once_at_a_time(agent: Any) -> None:
    stream = agent.start("cat", "/dev/zero", run="r")
    call = {**BLOCK, "command": ["true"]}
    assert agent.ask("POST", "/blocks/r", json.dumps(call).encode() + b"\nnull")[0] == 409
    assert agent.health()["runs"] == 1
    stream.close()
    assert agent.ask("DELETE", "/blocks/r") == (200, {"gone": True})
    assert agent.run("true", run="r").exit["code"] == 0


def test_health_is_quick_while_blocks_run(agent: Any) -> None:
    """A block that prints all it can, and one whose input is large, are not the agent's business."""
    agent.start("cat", "/dev/zero")
    large = agent.start("cat", value="x" * 20_000_000)
    times = []
    for _ in range(20):
        began = time.monotonic()
        assert agent.health()["runs"] >= 1
        times.append(time.monotonic() - began)
    assert sorted(times)[10] < 0.1
    assert large.end().exit["code"] == 0
