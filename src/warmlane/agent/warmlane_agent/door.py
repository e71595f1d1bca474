"""The agent's door: connections, one HTTP request on each, and the token. Nobody who is slow or silent holds up
another, and nothing is read from who does not know the token but a head.

A connection belongs to the door until `give` gives it away, and again after `take`.
"""

from __future__ import annotations

import json
import os
import socket
import time
from _operator import _compare_digest  # pyright: ignore[reportPrivateUsage] - hmac's own; hmac would load OpenSSL

from .files import shut_down, size_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .loop import Loop

CHUNK = 256 * 1024
HEAD_LIMIT = 16 * 1024
BODY_LIMIT = 256 * 1024 * 1024  # inputs are the outputs of a whole lane
CONNECTIONS = 64
HEAD_PATIENCE, BODY_PATIENCE, PARTING_PATIENCE = 10.0, 60.0, 2.0
REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    411: "Length Required",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class Refused(Exception):  # noqa: N818 - it is an answer
    """A request that gets an answer other than 200."""

    def __init__(self, status: int, said: str) -> None:
        self.status, self.said = status, said


class _Conn:
    """A client that has not said everything yet, or that was answered and has yet to go."""

    def __init__(self) -> None:
        self.deadline = time.monotonic() + HEAD_PATIENCE
        self.buffer = bytearray()
        self.method = self.path = ""
        self.length = 0
        self.answered = False


class Door:
    """Calls `handle(fd, method, path, body)` for every request with the token; it may raise Refused."""

    def __init__(
        self, loop: Loop, listener: socket.socket, token: str, handle: Callable[[int, str, str, bytes], None]
    ) -> None:
        self._loop = loop
        self._token = ("Bearer " + token).encode()
        self._handle = handle
        self._conns: dict[int, _Conn] = {}
        loop.watch(listener.fileno(), self._accept, listener)

    @property
    def busy(self) -> bool:
        """Whether `expire` may find something."""
        return bool(self._conns)

    def expire(self) -> None:
        """Drops who took too long."""
        now = time.monotonic()
        for fd in [fd for fd, conn in self._conns.items() if now > conn.deadline]:
            self._drop(fd)

    def give(self, fd: int) -> None:
        """A connection is the caller's from now on."""
        self._loop.unwatch(fd)
        del self._conns[fd]

    def take(self, fd: int) -> None:
        """A connection is the door's (again)."""
        self._conns[fd] = _Conn()
        self._loop.watch(fd, self._receive, fd)

    def answer(self, fd: int, status: int, value: dict[str, Any]) -> None:
        """Answers, and lets the client go first: closing with something unread would take the answer back."""
        conn = self._conns[fd]
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        try:
            os.write(fd, head.encode() + body)
            shut_down(fd)
        except OSError:
            self._drop(fd)
        else:
            conn.answered, conn.deadline = True, time.monotonic() + PARTING_PATIENCE
            conn.buffer.clear()

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return  # it has gone already
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        if len(self._conns) >= CONNECTIONS:
            self._drop(next(iter(self._conns)))
        self.take(sock.detach())

    def _drop(self, fd: int) -> None:
        self.give(fd)
        os.close(fd)

    def _receive(self, fd: int) -> None:
        conn = self._conns[fd]
        data = b""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            pass  # reset: gone, as at the end
        if not data:
            self._drop(fd)
        elif not conn.answered:
            conn.buffer += data
            try:
                if (conn.method or self._read_head(conn)) and len(conn.buffer) >= conn.length:
                    self._handle(fd, conn.method, conn.path, bytes(conn.buffer[: conn.length]))
            except Refused as refusal:
                self.answer(fd, refusal.status, {"error": refusal.said})

    def _read_head(self, conn: _Conn) -> bool:
        """Whether the head is there. Nothing but the token is looked at before the token is right."""
        end = conn.buffer.find(b"\r\n\r\n")
        if end > HEAD_LIMIT or (end < 0 and len(conn.buffer) > HEAD_LIMIT):
            raise Refused(431, "the head of the request is too large")
        if end < 0:
            return False
        first, *lines = bytes(conn.buffer[:end]).split(b"\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        if not _compare_digest(headers.get(b"authorization", b""), self._token):
            raise Refused(401, "the token is missing or wrong")
        length = headers.get(b"content-length", b"0")
        if b"transfer-encoding" in headers or not length.isdigit():
            raise Refused(411, "the request needs a Content-Length")
        if len(length) > 12 or int(length) > BODY_LIMIT:
            raise Refused(413, f"the body is over the limit of {size_words(BODY_LIMIT)}")
        words = first.decode("latin-1").split(" ")
        if len(words) != 3 or not words[0]:
            raise Refused(400, "that is not a request")
        conn.method, conn.path, _ = words
        conn.length = int(length)
        conn.deadline = time.monotonic() + BODY_PATIENCE
        del conn.buffer[: end + 4]
        return True
