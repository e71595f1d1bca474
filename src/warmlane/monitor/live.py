"""`warmlane monitor URL`: a live picture on a terminal, a line for each event elsewhere.

Cancellation: leaves the terminal as it was, with the last picture on it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import trio
from rich.console import Console
from rich.live import Live
from rich.text import Text

from warmlane.errors import WatchError
from warmlane.monitor.client import watch
from warmlane.monitor.plain import plain_line
from warmlane.monitor.render import render
from warmlane.monitor.view import View

_BETWEEN_FRAMES: Final = 0.1
_STALE: Final = 1.0
"""After so many seconds a picture is drawn again, for what it says about time is wrong."""


async def run_view(url: str, console: Console) -> int:
    """Shows what the monitor at `url` (see `address.monitor_url`) tells, until its session ends; the exit code, 0.

    Raises WatchError if there is no monitor, or it went away.
    """
    async with watch(url) as messages:
        if console.is_terminal and not console.is_dumb_terminal:
            await _show_picture(messages, url, console)
        else:
            await _print_lines(messages, url, console)
    console.print("the session has ended")
    return 0


async def _print_lines(messages: trio.abc.ReceiveChannel[dict[str, Any]], url: str, console: Console) -> None:
    async for message in messages:
        with _understanding(url):
            line = plain_line(message)
        if line is not None:
            console.print(Text(line), soft_wrap=True)


async def _show_picture(messages: trio.abc.ReceiveChannel[dict[str, Any]], url: str, console: Console) -> None:
    """Draws whenever something has changed, but not more often than every `_BETWEEN_FRAMES` seconds."""
    view, drawn, wait, over = View(), trio.current_time(), math.inf, False
    with Live(console=console, auto_refresh=False) as live:
        while not over:
            with trio.move_on_at(drawn + wait):
                try:
                    message = await messages.receive()
                except trio.EndOfChannel:
                    over = True
                else:
                    wait = _BETWEEN_FRAMES
                    with _understanding(url):
                        view.apply(message)
            if over or trio.current_time() >= drawn + wait:
                with _understanding(url):
                    live.update(render(view, console.width, time.time()), refresh=True)
                drawn, wait = trio.current_time(), _STALE


@contextmanager
def _understanding(url: str) -> Generator[None]:
    """The messages are anybody's: that one makes no sense is no mistake of ours."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        said = "its messages are not what this version understands; use one version on both sides"
        raise WatchError(url, said) from error
