"""Plain HTTP to the Docker daemon on a Trio stream, for what docker-py does badly: streams that last, and the first
hello. No thread; cancelling closes the connection, which is all the daemon needs to know.

One connection per request. Errors of the connection are RuntimeSilentError; a status is the caller's to judge.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import h11
import trio

from warmlane.errors import RuntimeSilentError
from warmlane.runtimes.docker_address import DockerAddress

_CHUNK = 64 * 1024


class Answer:
    """What the daemon answers: `status`, and a body that is read piece by piece while it comes."""

    def __init__(self, action: str, stream: trio.SocketStream) -> None:
        self.status = 0
        self._action = action
        self._stream = stream
        self._protocol = h11.Connection(h11.CLIENT)
        self._pending = b""

    async def begin(self, target: str) -> None:
        """Sends the request, and waits for the head of the answer."""
        request = h11.Request(method="GET", target=target, headers=[("Host", "docker"), ("Connection", "close")])
        await self._stream.send_all(self._protocol.send(request) + self._protocol.send(h11.EndOfMessage()))
        while not isinstance(event := await self._event(), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise RuntimeSilentError(self._action, "the connection was closed before an answer came")
        self.status = event.status_code

    async def piece(self) -> bytes:
        """The next piece of the body as it came; empty at its end."""
        event = await self._event()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def line(self) -> bytes:
        """The next line of the body without its newline; empty at its end. Empty lines are left out."""
        while True:
            line, newline, rest = self._pending.partition(b"\n")
            if newline:
                self._pending = rest
                if line.strip():
                    return line.strip()
                continue
            piece = await self.piece()
            self._pending += piece
            if not piece:
                last, self._pending = self._pending.strip(), b""
                return last

    async def json(self) -> Any:
        """The whole body, parsed."""
        body = b""
        while piece := await self.piece():
            body += piece
        return json.loads(body)

    async def _event(self) -> object:
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            self._protocol.receive_data(await self._stream.receive_some(_CHUNK))
        return event


@asynccontextmanager
async def ask(address: DockerAddress, action: str, target: str) -> AsyncGenerator[Answer]:
    """GETs `target`. The head of the answer has come when the body of the `async with` begins; leaving it hangs up.

    `action` says in an error what was tried. Raises RuntimeSilentError, from the body too, if the connection breaks.
    """
    try:
        async with await address.connect() as stream:
            answer = Answer(action, stream)
            await answer.begin(target)
            yield answer
    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
        said = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        raise RuntimeSilentError(action, said) from error
