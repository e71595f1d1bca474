"""`warmlane monitor`: the whole way from a session's bus to a screen."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from rich.console import Console

from warmlane.bus import Bus
from warmlane.errors import WatchError
from warmlane.events import BlockLog
from warmlane.monitor.live import run_view
from warmlane.monitor.server import Monitor

Serve = Callable[..., AbstractAsyncContextManager[Monitor]]


class Screen(io.StringIO):
    """What was printed, and whether the hello is in it."""

    def __init__(self) -> None:
        super().__init__()
        self.greeted = trio.Event()

    def write(self, text: str) -> int:
        if "session s-1 on fake" in text:
            self.greeted.set()
        return super().write(text)


async def watched(serve: Serve, console: Console, screen: Screen) -> int:
    """The exit code of a view of a session that prints three lines and ends."""
    bus = Bus()
    codes: list[int] = []

    async def view(url: str) -> None:
        codes.append(await run_view(url, console))

    async with serve(bus) as monitor, trio.open_nursery() as nursery:
        nursery.start_soon(view, monitor.url)
        await screen.greeted.wait()
        for number in range(3):
            bus.publish(BlockLog(block_id="lint", container_id="c", stream="stdout", text=f"line {number}"))
        bus.close()
    [code] = codes
    return code


async def test_elsewhere_there_is_a_line_for_each_event(serve: Serve) -> None:
    out = Screen()
    assert await watched(serve, Console(file=out, width=40), out) == 0
    lines = [line.partition(" ")[2] for line in out.getvalue().splitlines()]
    assert lines == [
        "watching session s-1 on fake; containers: 1 dormant, at most 10",
        "lint | line 0",
        "lint | line 1",
        "lint | line 2",
        "session has ended",
    ]


async def test_on_a_terminal_there_is_a_picture_and_its_last_state_stays(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = Screen()
    assert await watched(serve, Console(file=out, width=80, force_terminal=True, color_system=None), out) == 0
    last = out.getvalue().rpartition("session s-1 on fake")[2]
    assert "lint line 2" in last
    assert out.getvalue().endswith("the session has ended\n")


async def test_messages_that_make_no_sense_are_one_sentence(serve: Serve) -> None:
    bus = Bus()

    class Odd(io.StringIO):
        """As soon as the hello is shown, there is a message that lacks everything."""

        def write(self, text: str) -> int:
            if bus.seq == 0:
                event = BlockLog(block_id="b", container_id="c", stream="stdout", text="")
                message = '{"channel":"execution:block-log","seq":1,"at":null,"executionId":null,"payload":{}}'
                vars(bus.publish(event))["json"] = message
            return super().write(text)

    async with serve(bus) as monitor:
        with pytest.raises(WatchError, match="not what this version understands"):
            await run_view(monitor.url, Console(file=Odd()))
