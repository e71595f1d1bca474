"""`warmlane monitor URL`: a live picture on a terminal, a line for each event elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, TypeVar

import trio
from rich.console import Console
from rich.live import Live
from rich.text import Text

from warmlane.errors import WatchError
from warmlane.monitor.client import watch
from warmlane.monitor.plain import Message, plain_line
from warmlane.monitor.render import render
from warmlane.monitor.view import View

_BETWEEN_FRAMES: Final = 0.1

T = TypeVar("T")


async def run_view(url: str, console: Console) -> int:
    """Shows what the monitor at `url` (see `address.monitor_url`) tells, until its session ends; the exit code, 0.

    Raises WatchError if there is no monitor, or it went away.
    """
    async with watch(url) as messages:
        if console.is_terminal and not console.is_dumb_terminal:
            await _show_picture(messages, url, console)
        else:
            async for message in messages:
                if (line := _read(plain_line, message, url)) is not None:
                    console.print(Text(line), soft_wrap=True)
    console.print("the session has ended")
    return 0


async def _show_picture(messages: trio.abc.ReceiveChannel[Message], url: str, console: Console) -> None:
    """Draws whenever something has changed, but not more often than every `_BETWEEN_FRAMES` seconds."""
    view, due, changed = View(), -math.inf, False
    with Live(console=console, auto_refresh=False) as live:
        while True:
            with trio.move_on_at(due if changed else math.inf) as quiet:
                try:
                    message = await messages.receive()
                except trio.EndOfChannel:
                    break
                _read(view.apply, message, url)
                changed = True
            if changed and (quiet.cancelled_caught or trio.current_time() >= due):
                live.update(render(view, console.width), refresh=True)
                due, changed = trio.current_time() + _BETWEEN_FRAMES, False
        live.update(render(view, console.width), refresh=True)


def _read(reader: Callable[[Message], T], message: Message, url: str) -> T:
    """The message is anybody's: that it makes no sense is no mistake of ours."""
    try:
        return reader(message)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise WatchError(url, "its messages are not what this version understands") from error
