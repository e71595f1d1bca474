"""Stands between a client and a Docker daemon, and does harm on order: it delays, cuts, refuses, hangs and lies.

`open_proxy` listens on a unix socket of its own. What was ordered for a kind of call (`KINDS`) befalls the next calls
of that kind; all others pass, streams too. `proxy.calls` counts what was asked.
"""

import contextlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import h11
import trio

KINDS = {
    "create": ("POST", r"/containers/create"),
    "start": ("POST", r"/containers/[^/]+/start"),
    "pause": ("POST", r"/containers/[^/]+/pause"),
    "unpause": ("POST", r"/containers/[^/]+/unpause"),
    "inspect": ("GET", r"/containers/[^/]+/json"),
    "list": ("GET", r"/containers/json"),
    "remove": ("DELETE", r"/containers/[^/]+"),
    "image": ("GET", r"/images/.+/json"),
    "events": ("GET", r"/events"),
}

_CHUNK = 64 * 1024
_Message = tuple[h11.Request, bytes]


@dataclass(frozen=True)
class Fault:
    """What befalls a call. The client gets the daemon's own answer, its head and then nothing more (`mute`), a status
    that the daemon has not said, nothing at all (`hang`), or a closed connection (`cut`). The daemon gets the call
    after `wait` seconds if it is `carried_out`, and then carries it out even if its client has long gone."""

    answer: Literal["own", "mute", "hang", "cut"] | int = "own"
    carried_out: bool = False
    wait: float = 0.0


@dataclass
class _Order:
    fault: Fault
    skip: int
    times: float


@dataclass
class Proxy:
    """One proxy; `url` is for DOCKER_HOST."""

    url: str
    path: str = field(repr=False)
    nursery: trio.Nursery = field(repr=False)
    calls: Counter[str] = field(default_factory=Counter[str])
    _orders: dict[str, list[_Order]] = field(default_factory=dict[str, list[_Order]])
    _streams: set[trio.CancelScope] = field(default_factory=set[trio.CancelScope])

    def order(self, kind: str, fault: Fault, *, skip: int = 0, times: float = 1) -> None:
        """This befalls so many calls of that kind, after the next `skip` ones; math.inf is for ever."""
        assert kind in KINDS
        self._orders.setdefault(kind, []).append(_Order(fault, skip, times))

    def clear(self) -> None:
        """No more harm, but for what is under way."""
        self._orders.clear()

    def cut_streams(self) -> None:
        """Breaks every connection that is open."""
        for scope in self._streams:
            scope.cancel()

    async def serve(self, near: trio.SocketStream) -> None:
        """One connection of a client, until either side has enough."""
        with trio.CancelScope() as scope:
            self._streams.add(scope)
            try:
                await _Connection(self, near).serve()
            except* (OSError, trio.BrokenResourceError, h11.ProtocolError):
                pass  # one side has left
            finally:
                self._streams.discard(scope)

    def fault_of(self, request: h11.Request) -> Fault:
        """What was ordered for this request."""
        path = re.sub(r"^/v[\d.]+", "", request.target.decode().partition("?")[0])
        for kind, (method, pattern) in KINDS.items():
            if request.method.decode() == method and re.fullmatch(pattern, path):
                self.calls[kind] += 1
                for order in self._orders.get(kind, ()):
                    if order.skip > 0:
                        order.skip -= 1
                    elif order.times > 0:
                        order.times -= 1
                        return order.fault
        return Fault()


class _Connection:
    def __init__(self, proxy: Proxy, near: trio.SocketStream) -> None:
        self._proxy = proxy
        self._near = near
        self._h11 = h11.Connection(h11.SERVER)

    async def serve(self) -> None:
        while (message := await self._request()) is not None:
            fault = self._proxy.fault_of(message[0])
            going_on = False
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_with_the_client, nursery.cancel_scope)
                going_on = await self._answer(message, fault)
                nursery.cancel_scope.cancel()
            if not going_on or self._h11.our_state is not h11.DONE:
                return
            self._h11.start_next_cycle()

    async def _request(self) -> _Message | None:
        head, body = None, b""
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            if isinstance(event, h11.ConnectionClosed):
                return None
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
        assert head is not None
        return head, body

    async def _event(self) -> object:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._h11.receive_data(await self._near.receive_some(_CHUNK))
        return event

    async def _end_with_the_client(self, scope: trio.CancelScope) -> None:
        """What it sends after its request belongs to the next one."""
        while data := await self._near.receive_some(_CHUNK):
            self._h11.receive_data(data)
        scope.cancel()

    async def _answer(self, message: _Message, fault: Fault) -> bool:
        """False if the connection is to be closed."""
        if fault.answer == "own":
            await trio.sleep(fault.wait)
            await _ask(self._proxy.path, message, self._send)
            return True
        if fault.answer == "mute":
            await _ask(self._proxy.path, message, self._send_head)
            await trio.sleep_forever()
        done = trio.Event()
        if fault.carried_out:
            self._proxy.nursery.start_soon(_carry_out, self._proxy.path, message, fault.wait, done)
        else:
            done.set()
        if fault.answer == "hang":
            await trio.sleep_forever()
        await done.wait()
        if fault.answer == "cut":
            return False
        await self._say(fault.answer)
        return True

    async def _say(self, status: int) -> None:
        body = b"" if status == 204 else json.dumps({"message": f"the proxy says {status}"}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        await self._send(h11.Response(status_code=status, headers=headers if body else []))
        if body:
            await self._send(h11.Data(data=body))
        await self._send(h11.EndOfMessage())

    async def _send_head(self, event: h11.Event) -> None:
        if isinstance(event, h11.Response):
            await self._send(event)

    async def _send(self, event: h11.Event) -> None:
        if data := self._h11.send(event):
            await self._near.send_all(data)


async def _ask(path: str, message: _Message, deliver: Callable[[h11.Event], Awaitable[None]]) -> None:
    """Gives the call to the daemon, and its answer to `deliver`, piece by piece, to its end."""
    head, body = message
    protocol = h11.Connection(h11.CLIENT)
    headers = [(name, value) for name, value in head.headers if name != b"connection"]
    request = h11.Request(method=head.method, target=head.target, headers=[*headers, (b"connection", b"close")])
    async with await trio.open_unix_socket(path) as far:
        for event in (request, *([h11.Data(data=body)] if body else []), h11.EndOfMessage()):
            if data := protocol.send(event):
                await far.send_all(data)
        answered: object = None
        while not isinstance(answered, h11.EndOfMessage | h11.ConnectionClosed):
            answered = protocol.next_event()
            if answered is h11.NEED_DATA:
                protocol.receive_data(await far.receive_some(_CHUNK))
            elif isinstance(answered, h11.Response):
                kept = [(name, value) for name, value in answered.headers if name != b"connection"]
                await deliver(h11.Response(status_code=answered.status_code, headers=kept))
            elif isinstance(answered, h11.Data | h11.EndOfMessage):
                await deliver(answered)


async def _carry_out(path: str, message: _Message, wait: float, done: trio.Event) -> None:
    async def forget(_event: h11.Event) -> None:
        await trio.lowlevel.checkpoint()

    await trio.sleep(wait)
    with contextlib.suppress(OSError, trio.BrokenResourceError, h11.ProtocolError):
        await _ask(path, message, forget)
    done.set()


@asynccontextmanager
async def open_proxy(daemon_url: str) -> AsyncIterator[Proxy]:
    """A proxy before the daemon at a `unix://` address."""
    with tempfile.TemporaryDirectory(prefix="wlproxy", dir="/tmp") as folder:  # short: a socket is in it
        socket = trio.socket.socket(trio.socket.AF_UNIX)
        await socket.bind(str(Path(folder, "docker.sock")))
        socket.listen(128)
        async with trio.open_nursery() as nursery:
            proxy = Proxy(f"unix://{folder}/docker.sock", daemon_url.removeprefix("unix://"), nursery)
            await nursery.start(trio.serve_listeners, proxy.serve, [trio.SocketListener(socket)])
            yield proxy
            nursery.cancel_scope.cancel()
