"""Watching from the other end: the messages of a monitor, across breaks of the connection.

Cancellation: leaving `watch` drops the connection at once, without the goodbye of WebSocket: a ping of the monitor that
crosses it would be an error, and the monitor does not mind.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final, cast
from urllib.parse import urlsplit

import h11
import trio
from attrs import frozen
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import ProtocolError

from warmlane.errors import WatchError
from warmlane.monitor.address import monitor_url
from warmlane.monitor.door import SUBPROTOCOL
from warmlane.nursery import open_service_nursery
from warmlane.terminal import visible

_GOING_AWAY: Final = 1001
_LARGEST: Final = 1024 * 1024 * 1024
_ADVICE: Final = "give the address that a run with '--monitor' has printed"


@frozen(kw_only=True)
class Patience:
    """How long a client waits, in seconds."""

    connect: float = 5.0
    """For a connection, and again for the other side to speak WebSocket."""
    first_pause: float = 0.1
    """Before the first attempt to come back; doubled each time."""
    longest_pause: float = 2.0
    give_up: float = 20.0
    """For the monitor to come back after the connection broke."""


class _BrokenError(Exception):
    """The connection ended without a goodbye. It is worth trying again."""


@asynccontextmanager
async def watch(
    url: str, *, patience: Patience | None = None
) -> AsyncGenerator[trio.abc.ReceiveChannel[dict[str, Any]]]:
    """`async with watch(url) as messages`: the messages of a monitor as plain JSON objects, from its hello on.

    They end when the session does. When the connection breaks, it is made again, and the monitor asked for what was
    missed; it then says hello again. `url` is whatever `monitor_url` takes. Raises WatchError if nothing listens there,
    if it is no monitor, and if it went away and does not come back.
    """
    target = monitor_url(url)
    send, receive = trio.open_memory_channel[dict[str, Any]](0)
    try:
        async with open_service_nursery() as nursery:
            nursery.start_soon(_follow, target, patience or Patience(), send)
            with receive:
                yield receive
    except ExceptionGroup as group:
        for error in group.exceptions:
            if isinstance(error, WatchError):
                raise WatchError(error.url, error.said) from group
        raise


async def _follow(target: str, patience: Patience, messages: trio.MemorySendChannel[dict[str, Any]]) -> None:
    seen: int | None = None
    deadline, pause = -math.inf, patience.first_pause
    with messages:
        while True:
            try:
                async with _connected(target, seen, patience) as socket:
                    while (message := await _next_message(socket, target)) is not None:
                        seen = message["seq"]
                        deadline, pause = trio.current_time() + patience.give_up, patience.first_pause
                        await messages.send(message)
                return
            except _BrokenError as broken:
                if trio.current_time() + pause > deadline:
                    if seen is not None:
                        raise WatchError(target, f"the connection broke, and does not come back: {broken}") from broken
                    raise WatchError(target, f"{broken}; {_ADVICE}") from broken
            await trio.sleep(pause)
            pause = min(pause * 2, patience.longest_pause)


@asynccontextmanager
async def _connected(target: str, after: int | None, patience: Patience) -> AsyncGenerator[WebSocketConnection]:
    """A connection, for the body. The stream is ours: the library's own way leaves it open if the other side closes."""
    parts = urlsplit(target)
    resource = parts.path if after is None else f"{parts.path}?after={after}"
    async with await _stream(parts.hostname or "", parts.port or 0, patience) as stream:
        try:
            async with open_service_nursery() as nursery:
                with trio.fail_after(patience.connect):
                    socket = await wrap_client_stream(
                        nursery, stream, parts.netloc, resource, subprotocols=[SUBPROTOCOL], max_message_size=_LARGEST
                    )
                if socket.subprotocol != SUBPROTOCOL:
                    raise WatchError(target, f"what listens there is no Warmlane monitor; {_ADVICE}")
                yield socket
        except trio.TooSlowError:
            raise WatchError(target, f"what listens there does not answer; {_ADVICE}") from None
        except ExceptionGroup as group:
            raise _from_reader(group, target) from group


async def _stream(host: str, port: int, patience: Patience) -> trio.SocketStream:
    try:
        with trio.fail_after(patience.connect):
            return await trio.open_tcp_stream(host, port)
    except (OSError, trio.TooSlowError) as error:
        raise _BrokenError("nothing listens there") from error


def _from_reader(group: ExceptionGroup[Exception], target: str) -> Exception:
    """What it means that the library's reader task gave up."""
    cause = group.exceptions[0]
    if isinstance(cause, ConnectionRejected):
        return WatchError(target, _refusal(cause))
    if isinstance(cause, ProtocolError | h11.ProtocolError):
        return WatchError(target, f"what listens there does not speak WebSocket; {_ADVICE}")
    return group


def _refusal(refused: ConnectionRejected) -> str:
    try:
        body: Any = json.loads(refused.body or b"")
        return f"it says: {visible(str(body['error']))}"
    except (ValueError, TypeError, KeyError):
        return f"there is no monitor (the answer was HTTP {refused.status_code}); {_ADVICE}"


async def _next_message(socket: WebSocketConnection, target: str) -> dict[str, Any] | None:
    """None at the end of the session."""
    try:
        text = await socket.get_message()
    except ConnectionClosed as closed:
        if closed.reason is not None and closed.reason.code == _GOING_AWAY:
            return None
        raise _BrokenError(f"it was closed: {closed.reason}") from closed
    try:
        message = cast("dict[str, Any]", json.loads(text))
        if isinstance(message["seq"], int) and isinstance(message["channel"], str):
            return message
    except (ValueError, TypeError, KeyError):
        pass  # said below
    raise WatchError(target, f"what it sends are not the messages of a monitor; {_ADVICE}")
