"""The unary calls to the Docker daemon: docker-py in worker threads, made safe to cancel. Nobody else imports it.

Each call holds one socket while it runs. A cancelled call has that socket shut down, which ends its thread at once;
no thread is ever abandoned. `create` and `start` are the exceptions: the daemon carries them out even if it is hung
up on, so they run to its answer, for which a cancelled one waits some seconds and no more. Work waits in line by
kind, so that a jam of births cannot hold up removals, and waiting in line is cancelled at no cost.

Every failure leaves as RuntimeRefusedError (the daemon's own words and its HTTP status) or RuntimeSilentError.
"""

from __future__ import annotations

import errno
import queue
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

import docker
import requests
import trio
import urllib3
from docker.errors import APIError, DockerException
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from warmlane.errors import RuntimeRefusedError, RuntimeSilentError
from warmlane.runtimes.docker_address import DockerAddress

_BIRTHS = 4  # starts are bound by the CPU: more at once only makes each of them wait longer
_CONTROL = 16
_CLEANUP = 8
_PULLS = 3
_PATIENCE = 60  # seconds without a byte, after which a daemon is taken for silent
_LAST_CHANCE = 2.0  # seconds for the answer to a `create` or `start` that was cancelled


class _Wire:
    """The socket that one call is using at this moment, if any. Cut once, it stays cut."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cut = False
        self.reached = False
        """Whether it was connected: the daemon may have got the call."""

    def attach(self, connection: socket.socket) -> None:
        with self._lock:
            if self._cut:
                raise ConnectionAbortedError("the call was cancelled")
            self._socket = connection

    def detach(self) -> None:
        with self._lock:
            self._socket = None

    def cut(self) -> None:
        with self._lock:
            self._cut = True
            if self._socket is not None:
                with suppress(OSError):  # not connected any more: then nobody is blocked on it
                    self._socket.shutdown(socket.SHUT_RDWR)


_wire: ContextVar[_Wire] = ContextVar("_wire")


class _Connection(HTTPConnection):
    """A connection to the daemon. It tells the wire of the call whether its socket is in use."""

    def __init__(self, address: DockerAddress) -> None:
        super().__init__("localhost", timeout=_PATIENCE)
        self._address = address

    def connect(self) -> None:
        seconds = self.timeout if isinstance(self.timeout, int | float) else None
        self.sock = self._address.dial(seconds, _wire.get().attach)
        _wire.get().reached = True

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            _wire.get().attach(self.sock)
            _wire.get().reached = True
        super().request(*args, **kwargs)

    def close(self) -> None:
        if (wire := _wire.get(None)) is not None:
            wire.detach()
        super().close()


class _Pool(HTTPConnectionPool):
    """One pool for everything: docker-py's own keeps one per URL, and closes them under the feet of their users."""

    def __init__(self, address: DockerAddress) -> None:
        super().__init__("localhost", maxsize=_BIRTHS + _CONTROL + _CLEANUP + _PULLS)
        self._address = address

    def _new_conn(self) -> Any:
        return _Connection(self._address)

    def _put_conn(self, conn: Any) -> None:
        _wire.get().detach()  # from here on the socket may serve somebody else's call
        super()._put_conn(conn)

    def trim(self) -> None:
        """Closes the connections that nobody is using."""
        assert self.pool is not None
        taken: list[_Connection | None] = []
        with suppress(queue.Empty):
            while True:
                taken.append(self.pool.get_nowait())
        for idle in taken:
            if idle is not None:
                idle.close()
            with suppress(queue.Full):  # a call that found it empty meanwhile has made a connection, and put it here
                self.pool.put_nowait(None)


class _Adapter(HTTPAdapter):
    """Sends every request of the client to the one pool."""

    def __init__(self, address: DockerAddress) -> None:
        super().__init__()
        self.pool = _Pool(address)

    def get_connection(self, *_args: Any, **_kwargs: Any) -> _Pool:
        return self.pool

    def get_connection_with_tls_context(self, *_args: Any, **_kwargs: Any) -> _Pool:
        return self.pool

    def request_url(self, request: Any, proxies: Any) -> str:
        return str(request.path_url)

    def close(self) -> None:
        self.pool.close()
        super().close()


class Calls:
    """One client of one daemon. Close it when all calls have ended."""

    def __init__(self, address: DockerAddress, version: str) -> None:
        # An address in the client would choose docker-py's own transport for it; ours is put in its place.
        self._client: Any = docker.APIClient(base_url="tcp://127.0.0.1:2375", version=version, timeout=_PATIENCE)
        self._client.trust_env = False  # no proxies and no .netrc on the way to a local daemon
        self._adapter = _Adapter(address)
        self._client.mount("http://", self._adapter)
        self._births = trio.CapacityLimiter(_BIRTHS)
        self._control = trio.CapacityLimiter(_CONTROL)
        self._cleanup = trio.CapacityLimiter(_CLEANUP)
        self._pulls = trio.CapacityLimiter(_PULLS)
        self.unanswered: dict[str, float] = {}
        """The names that a create was sent for without an answer, with the time (`time.monotonic`) when it was given
        up: such a container may appear later. Whoever has seen to that deletes the entry."""

    def close(self) -> None:
        self._client.close()

    def trim(self) -> None:
        """Gives up the descriptors that only serve to be quicker next time, because somebody needs some."""
        self._adapter.pool.trim()

    async def create(self, name: str, config: Mapping[str, Any]) -> None:
        """`config` is the body of the API's `POST /containers/create`. Runs to the daemon's answer."""

        def run() -> None:
            try:
                self._client.create_container_from_config(config, name)
            except APIError:
                raise
            except BaseException:  # cut, silent or broken: it may have happened all the same
                if _wire.get().reached:
                    self.unanswered[name] = time.monotonic()
                raise

        await self._uncut("create a container", self._births, run)

    async def start(self, name: str) -> None:
        """Runs to the daemon's answer."""
        await self._uncut("start a container", self._births, self._client.start, name)

    async def pause(self, name: str) -> None:
        await self._cuttable("pause a container", self._control, self._client.pause, name)

    async def unpause(self, name: str) -> None:
        await self._cuttable("unpause a container", self._control, self._client.unpause, name)

    async def inspect(self, name: str) -> dict[str, Any]:
        """What the daemon knows of a container."""
        found = await self._cuttable("inspect a container", self._control, self._client.inspect_container, name)
        return dict(found)

    async def containers(self, label: str) -> list[dict[str, Any]]:
        """All containers that carry the label, in any state."""
        listing = partial(self._client.containers, all=True, filters={"label": [label]})
        return list(await self._cuttable("list the containers", self._control, listing))

    async def stop(self, name: str, grace: int) -> None:
        """Asks its first process to end, and kills it after `grace` seconds."""
        await self._cuttable("stop a container", self._cleanup, partial(self._client.stop, name, timeout=grace))

    async def remove(self, name: str) -> None:
        """Kills it if it runs, and removes it with its anonymous volumes."""
        removal = partial(self._client.remove_container, name, force=True, v=True)
        await self._cuttable("remove a container", self._cleanup, removal)

    async def exists(self, name: str) -> bool:
        """Whether there is (still) such a container; asked in the line of the removals."""
        try:
            await self._cuttable("inspect a container", self._cleanup, self._client.inspect_container, name)
        except RuntimeRefusedError as refusal:
            if refusal.status == 404:
                return False
            raise
        return True

    async def image(self, image: str) -> dict[str, Any] | None:
        """What the daemon knows of an image; None if it does not have it."""
        try:
            return dict(await self._cuttable("inspect an image", self._control, self._client.inspect_image, image))
        except RuntimeRefusedError as refusal:
            if refusal.status == 404:
                return None
            raise

    async def pull(self, image: str, on_message: Callable[[dict[str, Any]], None]) -> None:
        """Pulls an image with the user's own registry credentials. `on_message` is called, in the worker thread, with
        each message of the daemon; a failure in mid-course is such a message, with a key `error`."""

        def run() -> None:
            for message in self._client.pull(image, stream=True, decode=True):
                on_message(message)

        await self._cuttable("pull an image", self._pulls, run)

    async def _uncut(self, action: str, limiter: trio.CapacityLimiter, call: Callable[..., Any], *args: Any) -> None:
        await self._watched(_cut_later, action, limiter, call, args)

    async def _cuttable(self, action: str, limiter: trio.CapacityLimiter, call: Callable[..., Any], *args: Any) -> Any:
        return await self._watched(_cut_at_once, action, limiter, call, args)

    async def _watched(
        self,
        cut: Callable[[_Wire, trio.Event], Awaitable[None]],
        action: str,
        limiter: trio.CapacityLimiter,
        call: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> Any:
        wire, ended = _Wire(), trio.Event()
        result, failure = None, None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut, wire, ended)
            try:
                result = await trio.to_thread.run_sync(_work, action, wire, call, args, limiter=limiter)
            except (RuntimeRefusedError, RuntimeSilentError) as error:
                failure = error
            finally:
                ended.set()
            nursery.cancel_scope.cancel()
        if failure is not None:
            await trio.lowlevel.checkpoint_if_cancelled()  # then the failure is only the echo of our cut
            raise failure
        return result


async def _cut_at_once(wire: _Wire, _ended: trio.Event) -> None:
    try:
        await trio.sleep_forever()
    finally:
        wire.cut()  # at the call's regular end there is no socket on it any more


async def _cut_later(wire: _Wire, ended: trio.Event) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.move_on_after(_LAST_CHANCE, shield=True):
            await ended.wait()
        wire.cut()


def is_exhaustion(error: BaseException) -> bool:
    """Whether it was for want of a file descriptor."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _work(action: str, wire: _Wire, call: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """One call, in its worker thread. Trio gave it a context of its own, so the wire is this call's only."""
    _wire.set(wire)
    try:
        return call(*args)
    except APIError as error:
        said = " ".join(str(error.explanation or error).split())
        raise RuntimeRefusedError(action, said, status=error.status_code) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, DockerException, OSError) as error:
        raise RuntimeSilentError(action, " ".join(str(error).split()) or type(error).__name__) from error
    except (KeyError, TypeError, ValueError) as error:  # docker-py stumbles like this over what no daemon would say
        raise RuntimeSilentError(action, f"its answer makes no sense ({error!r})") from error
    finally:
        wire.detach()
