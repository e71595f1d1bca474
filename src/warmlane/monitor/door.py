"""Who may come in, and to what: one request head against the rules. Pure: it reads nothing and sends nothing.

The rules guard a port of the loopback interface against the web pages that its user's browser has open. A page can
make the browser connect to any address; it can change neither the `Origin` that the browser states, nor the name that
the browser puts into `Host`. So a name that was made to point to 127.0.0.1 (DNS rebinding) is refused by its `Host`, a
foreign page by its `Origin`. Programs that are no browsers state no origin.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import parse_qs

import h11
from attrs import Factory, frozen

SUBPROTOCOL: Final = "warmlane.v1"

_AUTHORITY: Final = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?")
_PORTS: Final = {"http": 80, "https": 443}
_SEQ: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


@frozen(kw_only=True)
class Answer:
    """A plain HTTP answer, and the end of the connection. `body` is sent as JSON."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = Factory(dict[str, str])


@frozen(kw_only=True)
class Admitted:
    """A watcher may come in. `after` is the number of the last event it has seen, if it says so."""

    after: int | None
    subprotocol: str | None


def is_loopback(name: str) -> bool:
    """Whether this host name or literal address (IPv6 with or without brackets) can only mean this machine itself."""
    try:
        return name.lower() == "localhost" or ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def refusal(status: int, error: str, **headers: str) -> Answer:
    """An answer that says, in one sentence, what is wrong."""
    return Answer(status=status, body={"error": error}, headers={k.replace("_", "-"): v for k, v in headers.items()})


def judge(request: h11.Request, pages: Mapping[str, Mapping[str, Any]], *, port: int) -> Answer | Admitted:
    """What to do with a request that came in at `port`. `pages` are the JSON documents to be had, by path."""
    headers = _Headers(request)
    if not _is_us(headers.only(b"host"), port, scheme="http"):
        return refusal(403, "the Host of the request is not this monitor's address")
    if headers.has(b"origin") and not _is_our_page(headers.only(b"origin"), port):
        return refusal(403, "pages of other origins may not watch")
    path, _, query = request.target.decode("ascii", "replace").partition("?")
    if path != "/ws" and path not in pages:
        return refusal(404, "there is nothing here; watch at /ws")
    if request.method != b"GET":
        return refusal(405, "only GET is allowed here", Allow="GET")
    return Answer(status=200, body=pages[path]) if path in pages else _judge_upgrade(request, headers, query)


def _judge_upgrade(request: h11.Request, headers: _Headers, query: str) -> Answer | Admitted:
    if b"websocket" not in headers.words(b"upgrade") or b"upgrade" not in headers.words(b"connection"):
        return refusal(426, "this is a WebSocket; connect to it with ws://", Upgrade="websocket")
    if headers.words(b"sec-websocket-version") != [b"13"]:
        return refusal(426, "only version 13 of WebSocket is spoken here", Sec_WebSocket_Version="13")
    if request.http_version != b"1.1" or not _is_key(headers.only(b"sec-websocket-key")) or _has_body(headers):
        return refusal(400, "this is not a WebSocket handshake")
    offered = headers.words(b"sec-websocket-protocol")
    if offered and SUBPROTOCOL.encode() not in offered:
        return refusal(400, f"only the subprotocol {SUBPROTOCOL} is spoken here")
    after = parse_qs(query, keep_blank_values=True).get("after")
    if after is not None and (len(after) != 1 or not _SEQ.fullmatch(after[0])):
        return refusal(400, "'after' must be the number of an event")
    return Admitted(after=int(after[0]) if after else None, subprotocol=SUBPROTOCOL if offered else None)


class _Headers:
    """The fields of one request, by lower-case name."""

    def __init__(self, request: h11.Request) -> None:
        self._fields = list(request.headers)

    def has(self, name: bytes) -> bool:
        return any(name == field for field, _ in self._fields)

    def only(self, name: bytes) -> str:
        """The value of a field that stands there once; else what no rule accepts."""
        values = [value for field, value in self._fields if field == name]
        return values[0].decode("latin-1") if len(values) == 1 else ""

    def words(self, name: bytes) -> list[bytes]:
        """The parts of a field that is a list; for all but the subprotocols, case means nothing."""
        text = b",".join(value for field, value in self._fields if field == name)
        parts = [part.strip() for part in text.split(b",") if part.strip()]
        return parts if name == b"sec-websocket-protocol" else [part.lower() for part in parts]


def _is_us(authority: str, port: int, *, scheme: str) -> bool:
    match = _AUTHORITY.fullmatch(authority)
    return match is not None and is_loopback(match["name"]) and int(match["port"] or _PORTS[scheme]) == port


def _is_our_page(origin: str, port: int) -> bool:
    scheme, _, authority = origin.partition("://")
    return scheme in _PORTS and _is_us(authority, port, scheme=scheme)


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _has_body(headers: _Headers) -> bool:
    return headers.has(b"transfer-encoding") or headers.only(b"content-length") not in ("", "0")
