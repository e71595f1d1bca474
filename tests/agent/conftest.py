"""A real agent, on every Python that it must run on, driven over its socket byte by byte."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
from attrs import define, field, frozen

import warmlane.agent
from pythons import AGENT_RUNS_ON, find_python, installed

MAIN = Path(warmlane.agent.__path__[0], "warmlane_agent", "__main__.py")
# All that the agent must run on, in the suite of the oldest engine; those of newer engines take only their own
VERSIONS = AGENT_RUNS_ON if sys.version_info < (3, 12) else (f"3.{sys.version_info.minor}",)
TOKEN = "secret"
PATIENCE = 20.0


@frozen
class Ended:
    """All that a block's stream has said."""

    lines: list[dict[str, Any]]
    exit: dict[str, Any]

    def text(self, stream: str = "stdout") -> list[str]:
        """The lines of one stream, put together from their pieces."""
        texts: list[str] = []
        partial = False
        for line in self.lines:
            if line["log"] == stream:
                if partial:
                    texts[-1] += line["text"]
                else:
                    texts.append(line["text"])
                partial = line.get("partial", False)
        return texts


class Stream:
    """A block under way."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")
        head = iter(self.file.readline, b"\r\n")
        first = next(head)
        assert first == b"HTTP/1.1 200 OK\r\n", first + self.file.read()
        list(head)

    def message(self) -> dict[str, Any]:
        """The next message; raises EOFError at the end."""
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise EOFError(line)
        found: dict[str, Any] = json.loads(line)
        return found

    def until(self, text: str) -> None:
        """Reads until that line was printed."""
        while self.message().get("text") != text:
            pass

    def end(self) -> Ended:
        """Reads to the end."""
        messages = [self.message()]
        while "exit" not in messages[-1]:
            messages.append(self.message())
        assert self.file.read() == b"", "something follows the exit"
        self.close()
        return Ended(messages[:-1], messages[-1]["exit"])

    def close(self) -> None:
        """Hangs up."""
        self.file.close()
        self.sock.close()


@define
class Agent:
    """An agent in a process of its own, and its client."""

    python: str
    folder: Path
    process: subprocess.Popen[bytes]
    address: Any
    numbers: itertools.count[int] = field(factory=itertools.count)
    sockets: list[socket.socket] = field(factory=list)
    streams: list[Stream] = field(factory=list)

    def connect(self) -> socket.socket:
        """A connection, closed at the end of the test at the latest."""
        sock = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET)
        self.sockets.append(sock)
        sock.settimeout(PATIENCE)
        sock.connect(self.address)
        return sock

    def send(
        self, method: str, path: str, body: bytes = b"", token: str | None = TOKEN, on: socket.socket | None = None
    ) -> socket.socket:
        """A request; its connection, which may be one that was made before."""
        sock = on or self.connect()
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        head += f"Authorization: Bearer {token}\r\n\r\n" if token is not None else "\r\n"
        sock.sendall(head.encode() + body)
        return sock

    def ask(self, method: str, path: str, body: bytes = b"", token: str | None = TOKEN) -> tuple[int, dict[str, Any]]:
        """A request and its whole answer."""
        with self.send(method, path, body, token) as sock:
            return read_answer(sock)

    def hang_up(self) -> None:
        """Closes all connections."""
        for stream in self.streams:
            stream.close()
        for sock in self.sockets:
            sock.close()

    def health(self) -> dict[str, Any]:
        status, said = self.ask("GET", "/health")
        assert status == 200
        return said

    def send_block(
        self,
        *command: str,
        run: str | None = None,
        value: Any = None,
        on: socket.socket | None = None,
        **more: Any,
    ) -> socket.socket:
        """Asks for a block, a command or `python=`; the connection."""
        call = {"execution_id": "e1", "block_id": "b1", "attempt": 1, "output_limit": 10_000, "terminate_grace": 0.3}
        call |= {"command": command} if command else {}
        body = json.dumps(call | more).encode() + b"\n" + json.dumps(value).encode()
        return self.send("POST", f"/blocks/{run or f'r{next(self.numbers)}'}", body, on=on)

    def stream(self, sock: socket.socket) -> Stream:
        """The answer to `send_block`."""
        stream = Stream(sock)
        self.streams.append(stream)
        return stream

    def start(self, *command: str, **more: Any) -> Stream:
        """Starts a block."""
        return self.stream(self.send_block(*command, **more))

    def run(self, *command: str, **more: Any) -> Ended:
        """Runs a block to its end."""
        return self.start(*command, **more).end()

    def script(self, text: str, **more: Any) -> Ended:
        """Runs Python text as a command."""
        return self.run(self.python, "-c", text, **more)

    def module(self, name: str, text: str) -> None:
        """Writes a module into the workspace, with a time that no other writing of it has."""
        path = self.folder / "workspace" / f"{name}.py"
        path.write_text(text)
        moment = time.time_ns() + next(self.numbers) * 1_000_000_000
        os.utime(path, ns=(moment, moment))

    def below(self) -> list[int]:
        """Its descendants."""
        found: list[int] = []
        front = [self.process.pid]
        while front:
            parent = front.pop()
            with suppress(OSError):  # it ended while we looked
                children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
                fresh = [int(pid) for pid in children.split()]
                found += fresh
                front += fresh
        return found

    def left(self) -> list[str]:
        """What there is in its scratch directory."""
        return sorted(os.listdir(self.folder / "scratch"))


def read_answer(sock: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and JSON of an answer that ends with its connection."""
    data = b""
    while chunk := sock.recv(1 << 16):
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    return int(head.split()[1]), json.loads(body)


def wait_until(true: Callable[[], Any]) -> None:
    """Returns when it is; for what the kernel does in its own time."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[[Callable[[], Any]], None]:
    """Waits for what the kernel does in its own time."""
    return wait_until


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest, lacking: Callable[[str], NoReturn]) -> str:
    """Each Python that the agent must run on."""
    found = find_python(request.param)
    if found is None:
        if there := installed(request.param):
            lacking(f"{there[0]} does not work")
        pytest.skip(f"there is no Python {request.param} on this machine")
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory whose name is short enough for sockets in it, with what an agent needs."""
    with tempfile.TemporaryDirectory(prefix="wla") as name:
        for part in ("workspace", "scratch"):
            Path(name, part).mkdir()
        yield Path(name)


@pytest.fixture
def launch(python: str, folder: Path) -> Iterator[Callable[..., Agent]]:
    """Starts an agent with that configuration, and waits until it listens."""
    launched: list[Agent] = []

    def launch(**more: Any) -> Agent:
        config: dict[str, Any] = {
            "listen": f"unix://{folder / 'a.sock'}",
            "token": TOKEN,
            "env": {},
            "workspace": str(folder / "workspace"),
            "lifeline": True,
            "scratch": str(folder / "scratch"),
        }
        config |= more
        (folder / "agent.json").write_text(json.dumps(config))
        process = subprocess.Popen([python, "-I", "-S", MAIN, folder / "agent.json"], stdin=subprocess.PIPE)
        kind, _, place = config["listen"].partition("://")
        host, _, port = place.rpartition(":")
        agent = Agent(python, folder, process, place if kind == "unix" else (host, int(port)))
        launched.append(agent)
        wait_until(lambda: process.poll() is not None or listens(agent))
        return agent

    yield launch
    for agent in launched:
        agent.hang_up()
        assert agent.process.stdin
        agent.process.stdin.close()
        agent.process.wait(PATIENCE)
        assert agent.process.returncode == 0, "it did not end by itself"


def listens(agent: Agent) -> bool:
    try:
        agent.connect().close()
    except OSError:
        return False
    return True


@pytest.fixture
def agent(launch: Callable[..., Agent]) -> Agent:
    """One agent on a unix socket."""
    return launch()
