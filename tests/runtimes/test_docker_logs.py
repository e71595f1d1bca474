"""The end of a container's log."""

from __future__ import annotations

from typing import Any

import pytest

from warmlane.errors import ContainerLostError, RuntimeRefusedError
from warmlane.runtimes.docker_logs import read_tail


def frame(text: bytes, stream: int = 1) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


def logs(*pieces: bytes) -> Any:
    async def script(exchange: Any) -> None:
        await exchange.begin()
        for piece in pieces:
            await exchange.piece(piece)
        await exchange.end()

    return script


async def test_both_streams_are_read_as_they_came(daemon: Any) -> None:
    daemon.script = logs(frame(b"one\n") + frame(b"two\n", 2), frame(b"three\n"))
    assert await read_tail(daemon.address, "1.41", "wl-1") == "one\ntwo\nthree\n"


async def test_frames_may_be_cut_anywhere(daemon: Any) -> None:
    whole = frame(b"hello ") + frame(b"world\n")
    daemon.script = logs(*(whole[i : i + 1] for i in range(len(whole))))
    assert await read_tail(daemon.address, "1.41", "wl-1") == "hello world\n"


async def test_of_a_long_log_only_the_end_is_kept(daemon: Any) -> None:
    daemon.script = logs(frame(b"x" * 10_000), frame(b"the end"))
    tail = await read_tail(daemon.address, "1.41", "wl-1")
    assert len(tail) == 4096
    assert tail.endswith("xthe end")


async def test_what_is_not_utf8_is_shown_escaped(daemon: Any) -> None:
    daemon.script = logs(frame(b"caf\xe9"))
    assert await read_tail(daemon.address, "1.41", "wl-1") == "caf\\xe9"


@pytest.mark.parametrize(("status", "error"), [(404, ContainerLostError), (500, RuntimeRefusedError)])
async def test_no_log_without_a_container(daemon: Any, status: int, error: type[Exception]) -> None:
    async def script(exchange: Any) -> None:
        await exchange.answer(status, {"message": "No such container: wl-1"})

    daemon.script = script
    with pytest.raises(error, match="No such container"):
        await read_tail(daemon.address, "1.41", "wl-1")
