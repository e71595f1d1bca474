"""The engine's end of the wire to an agent (`protocol.Agent` over HTTP), and to an image's own service.

Every request has a connection and a pool of its own, closed with it: a frozen container must not hold any, and httpx's
pool does not survive a cancellation while requests wait in it. There is nothing to be closed, so an `HttpAgent` may be
made wherever one is needed.

An agent lives with the code of strangers, and is not trusted: nothing that it sends can take more memory than the
limit on outputs allows, or bring in what JSON cannot say again (NaN, lone surrogates).

Cancelling any call closes its connection before it returns. No call has a deadline of its own.
"""

from __future__ import annotations

import json
import math
import ssl
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import Any, NoReturn
from urllib.parse import quote

import httpcore  # noqa: F401  # pyright: ignore[reportUnusedImport] - httpx loads it late, perhaps without a descriptor
import httpx
import trio

from warmlane.agent.protocol import BlockCall, Exit, LogLine, Response
from warmlane.errors import ContainerLostError
from warmlane.wire import encode

INPUT_LIMIT = 255 * 1024 * 1024
"""The largest input of a block, in bytes of JSON; the agent takes 256 MiB in all."""

RESPONSE_LIMIT = 16 * 1024 * 1024
"""The largest body that an image's own service may answer with, in bytes."""

_LOG_LIMIT = 6 * 1024 * 1024  # a piece of 1 MiB, each byte of it escaped
_MARGIN = 1024 * 1024  # for what stands around an output
_CLOSING = 1.0  # seconds to close a socket in, which does not wait for anything
_FAULTS = ("error", "signal", "bad-output", "oom", None)


class HttpAgent:
    """The way to one container. `address` is `tcp://HOST:PORT` or `unix:///path`, `name` what errors call it."""

    def __init__(self, address: str, token: str, *, name: str | None = None) -> None:
        kind, _, place = address.partition("://")
        uds = place if kind == "unix" else None
        self._name = name or address
        self._token = {"Authorization": f"Bearer {token}"}
        self._url = httpx.URL("http://localhost" if uds else f"http://{place}")
        self._uds = uds

    async def health(self) -> None:
        async with self._ask("GET", "/health", self._token) as response:
            if response.status_code != 200:
                raise ContainerLostError(self._name, f"it answered /health with status {response.status_code}")

    async def run(self, call: BlockCall, on_log: Callable[[LogLine], None]) -> Exit:
        given = encode(call.input).encode()
        if len(given) > INPUT_LIMIT:
            return Exit(error=f"its input is too large: {len(given)} bytes, the limit is {INPUT_LIMIT}", fault="error")
        limit = max(call.output_limit, _LOG_LIMIT) + _MARGIN
        lines = _Lines(limit)
        ended: Exit | None = None

        def take(chunk: bytes) -> None:
            nonlocal ended
            for line in lines.feed(chunk):
                said = _parse(line)
                if isinstance(said, Exit):
                    ended = said
                else:
                    on_log(said)

        try:
            async with self._ask("POST", f"/blocks/{call.run}", self._token, _head(call) + given) as response:
                await self._expect_200(response, "run a block")
                await _read_through(response, take)
        except ContainerLostError:
            if ended is None:
                raise
        if ended is None:
            raise ContainerLostError(self._name, "the connection to its agent broke before the block had ended")
        return ended

    async def end(self, run: str) -> None:
        async with self._ask("DELETE", f"/blocks/{run}", self._token) as response:
            await self._expect_200(response, "end a block")

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> Response:
        sent = dict(headers)
        content = None
        if body is not None:
            content = encode(body).encode()
            if not any(key.lower() == "content-type" for key in sent):
                sent["Content-Type"] = "application/json"
        async with self._ask(method, path, sent, content) as response:
            data = await self._read(response, RESPONSE_LIMIT)
            return Response(status=response.status_code, headers=dict(response.headers), body=_body(data))

    @asynccontextmanager
    async def _ask(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> AsyncGenerator[httpx.Response]:
        raw_path = quote(path, safe="/:?#[]@!$&'()*+,;=%-._~").encode()
        url = self._url.copy_with(raw_path=raw_path)  # a path can never become another host
        plain = {"Host": url.netloc.decode(), "Accept-Encoding": "identity", "Connection": "close"}
        if content is not None:
            plain["Content-Length"] = str(len(content))
        request = httpx.Request(method, url, headers=plain, stream=_Body(content or b""))
        request.headers.update(headers)
        # A pool for each: one that is cancelled before it has sent anything forgets to close its connection
        transport = httpx.AsyncHTTPTransport(uds=self._uds, verify=_no_tls(), trust_env=False)
        try:
            with self._lost():
                yield await transport.handle_async_request(request)
        finally:
            with trio.move_on_after(_CLOSING, shield=True):
                await transport.aclose()

    @contextmanager
    def _lost(self) -> Generator[None]:
        """The one place where what httpx raises becomes an error of ours."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ContainerLostError(self._name, f"it cannot be reached ({error})") from error
        except _NonsenseError as error:
            raise ContainerLostError(self._name, f"its agent sent what no agent sends: {error}") from error
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
            raise ContainerLostError(self._name, f"the connection to it broke ({said})") from error

    async def _expect_200(self, response: httpx.Response, action: str) -> None:
        if response.status_code != 200:
            data = await self._read(response, _MARGIN)
            said = data[:200].decode(errors="backslashreplace")
            raise ContainerLostError(self._name, f"its agent would not {action} ({response.status_code}): {said}")

    async def _read(self, response: httpx.Response, limit: int) -> bytes:
        data = bytearray()

        def take(chunk: bytes) -> None:
            if len(data) + len(chunk) > limit:
                raise _NonsenseError(f"more than the limit of {limit} bytes")
            data.extend(chunk)

        await _read_through(response, take)
        return bytes(data)


async def _read_through(response: httpx.Response, take: Callable[[bytes], None]) -> None:
    """Reads a body to its end, or until `take` refuses it with a _NonsenseError; then the connection is closed and read
    on: httpx reads with generators inside of generators, and what is left early is left to the garbage collector."""
    refused: _NonsenseError | None = None
    try:
        async for chunk in response.aiter_raw():
            try:
                if refused is None:
                    take(chunk)
            except _NonsenseError as error:
                refused = error
                await response.aclose()  # which makes the next read fail
    except httpx.HTTPError:
        if refused is None:
            raise
    if refused is not None:
        raise refused


class _Body(httpx.AsyncByteStream):
    """The body of a request, in one piece. httpx's own is a generator, which a cancelled request leaves to the garbage
    collector."""

    def __init__(self, content: bytes) -> None:
        self._left = [content] if content else []

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


class _NonsenseError(Exception):
    """What the agent sent is not in its protocol."""


class _Lines:
    """Puts lines together, looking at each byte once; what follows the last newline is not a line."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._add(end)
            line = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            yield line
        self._add(rest)

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            raise _NonsenseError(f"a line of over {self._limit} bytes")
        if part:
            self._parts.append(part)


def _head(call: BlockCall) -> bytes:
    """The first line of what the agent is sent; the input follows it."""
    fields = {
        "execution_id": call.execution_id,
        "block_id": call.block_id,
        "attempt": call.attempt,
        "command": call.command,
        "python": call.python,
        "output_limit": call.output_limit,
        "terminate_grace": call.terminate_grace,
    }
    return encode(fields).encode() + b"\n"


def _parse(line: bytes) -> LogLine | Exit:
    try:
        message = _load(line)
    except ValueError as error:
        raise _NonsenseError(str(error)) from error
    match message:
        case {"log": ("stdout" | "stderr") as stream, "text": str(text)}:
            return LogLine(stream=stream, text=text, partial=message.get("partial") is True)
        case {"exit": {"code": int() | None as code, "signal": int() | None as signal, "fault": fault, **told}} if (
            fault in _FAULTS and isinstance(said := told.get("error"), str | None)
        ):
            return Exit(code=code, signal=signal, output=told.get("output"), error=said, fault=fault)
        case _:
            raise _NonsenseError("neither a log line nor an exit")


def _load(text: bytes) -> Any:
    """JSON that can be said again. Raises ValueError for all else: NaN, infinities by any name, lone surrogates."""
    try:
        value = json.loads(text.decode(), parse_constant=_no_number, parse_float=_finite)
        if b"\\ud" in text or b"\\uD" in text:
            encode(value).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"JSON has no {word}")


def _finite(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise ValueError("a number that is too large")
    return number


def _body(data: bytes) -> Any:
    try:
        return _load(data)
    except ValueError:
        return data.decode(errors="backslashreplace")


@cache
def _no_tls() -> ssl.SSLContext:
    """What httpx wants in place of `verify=False`; for each client anew it would cost 2 ms."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
