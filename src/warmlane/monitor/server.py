"""The port on which a session can be watched: `/ws` for events, `/healthz` for whether it lives, `/` for what is here.

It only listens on this machine's own addresses: there is no token yet that would make others safe.

Nothing that a client does, or fails to do, reaches the session, the listener or another client: each connection has one
guard around it, every wait on a client is bounded (`limits.py`), and so is their number.

Cancellation: the tasks of the monitor are shielded from the scope around it, so that what a cancelled session has to
say at its end is still told. Leaving `serve_monitor`, however it is left, ends them: clients are told the rest and
1001, and after `Limits.close` the connections are closed by force.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from typing import Any

import h11
import trio
from attrs import frozen
from trio_websocket import ConnectionClosed, wrap_server_stream
from wsproto.utilities import ProtocolError

from warmlane._version import __version__
from warmlane.errors import MonitorAddressError
from warmlane.monitor.door import Admitted, Answer, is_loopback, judge, refusal
from warmlane.monitor.http import Head, read_head, send_answer
from warmlane.monitor.limits import Limits
from warmlane.monitor.stream import PatientStream, let_read
from warmlane.monitor.watcher import GOING_AWAY, Watched, Watcher
from warmlane.nursery import open_service_nursery

_log = logging.getLogger(__name__)

_BUSY = refusal(503, "too many are watching; try again later", Retry_After="5")
_EARLY = refusal(503, "the session is still being opened; try again", Retry_After="1")
_ENDED = "the monitor has ended"


@frozen
class _Entry:
    """A watcher that was let in, and what it has said so far."""

    session: Watched
    admitted: Admitted
    seen: bytes


@asynccontextmanager
async def serve_monitor(
    session: Watched | None, host: str = "127.0.0.1", port: int = 0, *, limits: Limits | None = None
) -> AsyncGenerator[Monitor]:
    """Serves a monitor of this session as long as the body runs. Port 0 means any free port.

    Without a session it answers 503 until `Monitor.show` is called. That way it can be opened before the session, and
    be left after it, so that its watchers see the session's containers go.

    Raises MonitorAddressError if `host` is not a loopback address (or `localhost`), or the port is taken.
    """
    listeners = await _listen(host, port)
    async with open_service_nursery() as nursery:
        monitor = Monitor(session, listeners[0], limits or Limits())
        nursery.start_soon(monitor.run)  # not `start`: the kernel listens already, and the shield must see `end`
        try:
            yield monitor
        finally:
            monitor.end()


async def _listen(host: str, port: int) -> list[trio.SocketListener]:
    if not is_loopback(host):
        raise MonitorAddressError(host, port, _not_ours(host))
    address = "127.0.0.1" if host.lower() == "localhost" else host.strip("[]")
    try:
        return await trio.open_tcp_listeners(port, host=address)
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "another program listens there" if taken else getattr(error, "strerror", None) or str(error)
        raise MonitorAddressError(host, port, f"{why}; choose another port") from error


def _not_ours(host: str) -> str:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return "names other than 'localhost' are not looked up; write 127.0.0.1, or another loopback address"
    return "it would be open to other machines; write 127.0.0.1, or another loopback address"


def _pages(session: Watched) -> Mapping[str, Mapping[str, Any]]:
    return {
        "/": {
            "warmlane": __version__,
            "session": session.id,
            "see": {"/ws": "events over WebSocket", "/healthz": "whether the session lives"},
        },
        "/healthz": {"status": "ok", "session": session.id, "version": __version__},
    }


class Monitor:
    """One listening monitor; made by `serve_monitor`."""

    def __init__(self, session: Watched | None, listener: trio.SocketListener, limits: Limits) -> None:
        self._session = session
        self._listener = listener
        self._limits = limits
        self._ending = trio.Event()
        self._watchers: set[Watcher] = set()
        self._visits: set[trio.CancelScope] = set()
        self._connections = 0
        self._seats = 0
        self.host, self.port = listener.socket.getsockname()[:2]

    @property
    def url(self) -> str:
        """Where to watch: `ws://127.0.0.1:PORT/ws`."""
        return f"ws://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/ws"

    @property
    def watching(self) -> int:
        """How many watch now."""
        return self._seats

    def show(self, session: Watched) -> None:
        """From now on, this session can be watched; for a monitor that has none yet. Synchronous."""
        assert self._session is None
        self._session = session

    def end(self) -> None:
        """No more visitors; watchers are told what was published until now, and goodbye. Synchronous."""
        self._ending.set()
        for scope in self._visits:
            scope.cancel()
        for watcher in self._watchers:
            watcher.dismiss(GOING_AWAY, _ENDED)

    async def run(self) -> None:
        """Answers until `end`, and then until the last client is gone."""
        with trio.CancelScope(shield=True) as scope:
            async with trio.open_nursery() as clients:
                async with trio.open_nursery() as door:
                    # it closes each stream by force when its handler has ended
                    listen = partial(trio.serve_listeners, self._visit, [self._listener], handler_nursery=clients)
                    door.start_soon(listen)
                    await self._ending.wait()
                    door.cancel_scope.cancel()
                scope.deadline = trio.current_time() + self._limits.close

    async def _visit(self, stream: trio.SocketStream) -> None:
        """One connection, whatever comes of it."""
        self._connections += 1
        try:
            await self._receive(stream)
        except* (ConnectionClosed, ProtocolError, trio.BrokenResourceError, trio.ClosedResourceError) as broken:
            _log.debug("a connection broke: %r", broken.exceptions)
        except* trio.TooSlowError:
            _log.debug("a connection was too slow, and was dropped")
        except* Exception:  # noqa: BLE001 - the guard: logged, and only this connection ends
            _log.exception("a connection failed in a way that was not foreseen, and was dropped")
        finally:
            self._connections -= 1

    async def _receive(self, stream: trio.SocketStream) -> None:
        if self._ending.is_set() or self._connections > self._limits.connections:
            return
        entry: _Entry | None = None
        with trio.CancelScope() as visit:
            self._visits.add(visit)
            try:
                entry = await self._at_the_door(stream)
            finally:
                self._visits.discard(visit)
        if entry is None:
            return
        try:
            await self._watch(PatientStream(stream, entry.seen, grace=self._limits.send), entry)
        finally:
            self._seats -= 1
        with trio.move_on_after(self._limits.linger):
            await let_read(stream)

    async def _at_the_door(self, stream: trio.SocketStream) -> _Entry | None:
        """Hears what the visitor wants, and answers. Only a watcher gets further; then it has a seat."""
        heard: Head | Answer | None = refusal(408, "the request did not come in time")
        with trio.move_on_after(self._limits.head):
            heard = await read_head(stream, size=self._limits.head_size)
        if isinstance(heard, Head):
            verdict = self._judge(heard.request)
            if not isinstance(verdict, Answer):
                self._seats += 1
                return _Entry(*verdict, heard.seen)
            await self._answer(stream, verdict, method=heard.request.method)
        elif heard is not None:
            await self._answer(stream, heard)
        return None

    def _judge(self, request: h11.Request) -> Answer | tuple[Watched, Admitted]:
        if self._session is None:
            return _EARLY
        verdict = judge(request, _pages(self._session), port=self.port)
        if isinstance(verdict, Answer):
            return verdict
        return (self._session, verdict) if self._seats < self._limits.clients else _BUSY

    async def _answer(self, stream: trio.SocketStream, answer: Answer, *, method: bytes = b"GET") -> None:
        with trio.fail_after(self._limits.send):
            await send_answer(stream, answer, method=method)
        with trio.move_on_after(self._limits.linger):
            await let_read(stream)

    async def _watch(self, stream: trio.abc.Stream, entry: _Entry) -> None:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(self._limits.head):
                proposal = await wrap_server_stream(nursery, stream, max_message_size=self._limits.message_size)
                socket = await proposal.accept(subprotocol=entry.admitted.subprotocol)
            with entry.session.events(after=entry.admitted.after) as feed:
                watcher = Watcher(socket, entry.session, feed, self._limits)
                self._watchers.add(watcher)
                try:
                    if self._ending.is_set():
                        watcher.dismiss(GOING_AWAY, _ENDED)
                    await watcher.run(nursery)
                finally:
                    self._watchers.discard(watcher)
