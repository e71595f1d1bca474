"""A daemon to play with: what Docker would answer, as a test scripts it, on a unix socket or a port."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import h11
import pytest
import trio

from warmlane.runtimes.docker_address import DockerAddress


class Exchange:
    """One request to the scripted daemon, and the means to answer it."""

    def __init__(self, stream: trio.abc.Stream, protocol: h11.Connection, method: str, target: str) -> None:
        self.method, self.target = method, target
        self.connection = id(stream)
        self._stream, self._protocol = stream, protocol

    async def begin(self, status: int = 200) -> None:
        """The head of an answer whose body comes in pieces."""
        headers = [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")]
        await self._send(h11.Response(status_code=status, headers=headers))

    async def line(self, **message: Any) -> None:
        """One JSON line of the body."""
        await self.piece(json.dumps(message).encode() + b"\n")

    async def piece(self, data: bytes) -> None:
        """So much of the body."""
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        await self._send(h11.EndOfMessage())

    async def answer(self, status: int, body: Any) -> None:
        """A whole answer."""
        await self.begin(status)
        await self.piece(json.dumps(body).encode())
        await self.end()

    async def hung_up(self) -> None:
        """Returns when the client has closed the connection."""
        while await self._stream.receive_some():
            pass

    async def _send(self, event: Any) -> None:
        await self._stream.send_all(self._protocol.send(event) or b"")


class ScriptedDaemon:
    """Answers each request with `script(exchange)`; `requests` lists what was asked: `GET /version`."""

    def __init__(self, address: DockerAddress) -> None:
        self.address = address
        self.requests: list[str] = []
        self.script: Callable[[Exchange], Awaitable[None]] = _not_found

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One connection, with as many requests as the client makes on it."""
        protocol = h11.Connection(h11.SERVER)
        try:
            while True:
                event = protocol.next_event()
                if event is h11.NEED_DATA:
                    protocol.receive_data(bytes(await stream.receive_some(4096)))
                elif isinstance(event, h11.Request):
                    exchange = Exchange(stream, protocol, event.method.decode(), event.target.decode())
                elif isinstance(event, h11.EndOfMessage):
                    self.requests.append(f"{exchange.method} {exchange.target}")
                    await self.script(exchange)
                    if protocol.our_state is not h11.DONE or protocol.their_state is not h11.DONE:
                        return
                    protocol.start_next_cycle()
                elif isinstance(event, h11.ConnectionClosed):
                    return
        except trio.BrokenResourceError:
            return  # the client is gone
        finally:
            await trio.aclose_forcefully(stream)


async def _not_found(exchange: Exchange) -> None:
    await exchange.answer(404, {"message": "page not found"})


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """Short enough for a unix socket, whatever pytest's own folders are called."""
    folder = Path(tempfile.mkdtemp(prefix="wl-"))
    yield folder / "docker.sock"
    shutil.rmtree(folder)


@pytest.fixture
async def daemon(socket_path: Path) -> AsyncIterator[ScriptedDaemon]:
    """A scripted daemon on a unix socket."""
    scripted = ScriptedDaemon(DockerAddress(f"unix://{socket_path}", path=str(socket_path)))
    listening = trio.socket.socket(trio.socket.AF_UNIX)
    await listening.bind(str(socket_path))
    listening.listen(64)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, scripted.serve, [trio.SocketListener(listening)])
        yield scripted
        nursery.cancel_scope.cancel()
