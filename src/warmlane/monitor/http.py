"""One request head off a stream, and one JSON answer onto it. A connection carries one request.

Cancellation: both are abandoned half way; the caller closes the stream.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import h11
import trio
from attrs import frozen

from warmlane.monitor.door import Answer, refusal
from warmlane.wire import encode

_CHUNK: Final = 4096


@frozen
class Head:
    """A request, and all the bytes that were read to know it (perhaps some more)."""

    request: h11.Request
    seen: bytes


async def read_head(stream: trio.abc.ReceiveStream, *, size: int) -> Head | Answer | None:
    """The request, or what to answer if it is none; None if the peer left. `size` bounds the head in bytes; the caller
    bounds the time."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=size)
    seen = b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            too_large = error.error_status_hint == 431
            return refusal(431, f"the head is over {size} bytes") if too_large else refusal(400, "this is not HTTP")
        if isinstance(event, h11.Request):
            return Head(event, seen)
        data = await stream.receive_some(_CHUNK)
        if not data:
            return None
        seen += data
        connection.receive_data(bytes(data))


async def send_answer(stream: trio.abc.SendStream, answer: Answer, *, method: bytes = b"GET") -> None:
    """Sends the whole answer. Raises trio.BrokenResourceError if the peer is gone."""
    body = encode(answer.body).encode()
    head = h11.Response(
        status_code=answer.status,
        reason=HTTPStatus(answer.status).phrase,
        headers=[
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
            *answer.headers.items(),
        ],
    )
    data = h11.Connection(h11.SERVER).send(head) or b""
    await stream.send_all(data if method == b"HEAD" else data + body)
