"""Answers that are read while they come."""

from __future__ import annotations

from typing import Any

import pytest

from warmlane.errors import RuntimeSilentError
from warmlane.runtimes.docker_http import ask


def sends(*pieces: bytes, breaks: bool = False) -> Any:
    async def script(exchange: Any) -> None:
        await exchange.begin()
        for piece in pieces:
            await exchange.piece(piece)
        if not breaks:
            await exchange.end()

    return script


async def lines_of(daemon: Any) -> list[bytes]:
    lines: list[bytes] = []
    async with ask(daemon.address, "read", "/x") as answer:
        while line := await answer.line():
            lines.append(line)
    return lines


@pytest.mark.parametrize(
    "pieces",
    [
        (b'{"a": 1}\n{"b": 2}\n',),
        (b'{"a": 1}\n{"b', b'": 2}', b"\n"),
        (b'\n\n{"a": 1}\r\n', b'\n{"b": 2}'),
        tuple(bytes([byte]) for byte in b'{"a": 1}\n{"b": 2}'),
    ],
)
async def test_lines_come_whole_however_they_were_sent(daemon: Any, pieces: tuple[bytes, ...]) -> None:
    daemon.script = sends(*pieces)
    assert await lines_of(daemon) == [b'{"a": 1}', b'{"b": 2}']


async def test_a_body_that_breaks_off_is_no_end(daemon: Any) -> None:
    daemon.script = sends(b'{"a": 1}\n{"b"', breaks=True)
    with pytest.raises(RuntimeSilentError, match="no answer to 'read'"):
        await lines_of(daemon)


async def test_leaving_early_hangs_up(daemon: Any) -> None:
    heard: list[str] = []

    async def script(exchange: Any) -> None:
        await exchange.begin()
        await exchange.line(a=1)
        await exchange.hung_up()
        heard.append("hung up")

    daemon.script = script
    async with ask(daemon.address, "read", "/x") as answer:
        assert answer.status == 200
        assert await answer.line() == b'{"a": 1}'
    async with ask(daemon.address, "read", "/x"):
        assert heard == ["hung up"]


async def test_an_empty_body_has_no_line(daemon: Any) -> None:
    daemon.script = sends()
    assert await lines_of(daemon) == []
