"""The face for a terminal: what the blocks print scrolls by, and beneath it stands a picture of lanes and pool.

Rich draws into an outlet, so a terminal that is stopped (Ctrl-S) stops nothing else. Lines are printed together with
the next picture, which is drawn a few times a second at most, however much the blocks print.
"""

from __future__ import annotations

import io
import os
import time
from types import TracebackType
from typing import Self

import trio
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment

from warmlane.cli.face import Face
from warmlane.cli.lines import RunLines
from warmlane.cli.outlet import Outlet
from warmlane.events import Envelope
from warmlane.monitor.render import render
from warmlane.monitor.view import View
from warmlane.session import Session
from warmlane.terminal import visible_lines

_BETWEEN_PICTURES = 0.1
_MANY_LINES = 5_000


class LiveFace(Face):
    """A picture that moves, under lines that stay. When it ends, the picture goes and the lines remain."""

    def __init__(self, out: Outlet, err: Outlet) -> None:
        super().__init__(out, err)
        self._view = View()
        self._console = Console(file=_Screen(out), force_terminal=True, legacy_windows=False)
        self._live = Live(
            _Picture(self._view),
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="ellipsis",
        )
        self._lines = RunLines()
        self._unsaid: list[str] = []
        self._news = False
        self._stale_at = 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draw()
        self._live.stop()

    def begin(self, session: Session) -> None:
        self._view.session_id, self._view.runtime = session.id, session.runtime

    def take(self, envelope: Envelope) -> None:
        message = envelope.message
        self._unsaid += self._lines.of(message)
        if message["channel"] != "execution:block-log":  # its line scrolls by already
            self._view.apply(message)
        self._news = True
        if len(self._unsaid) > _MANY_LINES:
            self._draw()

    def notice(self, text: str) -> None:
        if os.isatty(2):  # it would be drawn over
            self._unsaid += visible_lines(f"warmlane: {text}")
            self._news = True
        else:
            super().notice(text)

    async def keep_fresh(self) -> None:
        while True:
            if self.out.idle and (self._news or time.monotonic() >= self._stale_at):
                self._draw()
            await trio.sleep(_BETWEEN_PICTURES)

    def _draw(self) -> None:
        lines, self._unsaid, self._news = self._unsaid, [], False
        self._stale_at = time.monotonic() + 1
        self._console.print(_Lines(lines), crop=False, soft_wrap=True, end="")


class _Picture:
    """The view as it is whenever it is drawn."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield render(self._view, options.max_width, time.time())


class _Lines:
    """Lines for the console to print as they are: not wrapped, not cut, not read as markup."""

    def __init__(self, lines: list[str]) -> None:
        self._text = "".join(f"{line}\n" for line in lines)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Segment(self._text)


class _Screen(io.StringIO):
    """The outlet as a file, for rich."""

    def __init__(self, out: Outlet) -> None:
        super().__init__()
        self._out = out

    def write(self, text: str) -> int:
        self._out.put(text)
        return len(text)
