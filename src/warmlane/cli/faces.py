"""The three faces of a run: lines of JSON for programs, plain lines for logs, a live picture for a terminal.

A face turns events into text and puts it into outlets, which never blocks. It is a context manager: left, it has put
all that it has to say.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from warmlane.cli.outlet import Outlet
from warmlane.cli.summary import summary
from warmlane.events import Envelope
from warmlane.monitor.plain import plain_line
from warmlane.terminal import visible

_ENDS = ("execution:complete", "execution:aborted")
_UNSAFE_IN_JSON = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}


class Face:
    """What all faces share: notices go to stderr, and there is nothing to refresh."""

    def __init__(self, out: Outlet, err: Outlet) -> None:
        self.out, self.err = out, err

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def take(self, envelope: Envelope) -> None:
        """Shows one event."""
        raise NotImplementedError

    def notice(self, text: str) -> None:
        """Says something about the program itself."""
        self.err.put(f"warmlane: {visible(text)}\n")

    async def keep_fresh(self) -> None:
        """Redraws, until cancelled, what changes with time alone."""


class JsonFace(Face):
    """Every event as one line of JSON, in which nothing can steer a terminal."""

    def take(self, envelope: Envelope) -> None:
        self.out.put(envelope.json.translate(_UNSAFE_IN_JSON) + "\n")


class PlainFace(Face):
    """What happens, a line each, and a summary behind every run."""

    def __init__(self, out: Outlet, err: Outlet) -> None:
        super().__init__(out, err)
        self._plan_name = ""

    def take(self, envelope: Envelope) -> None:
        message = envelope.message
        if message["channel"] == "execution:started":
            self._plan_name = message["payload"]["planName"]
        if message["channel"] in _ENDS:
            lines = [*summary(self._plan_name, message["payload"])]
        else:
            line = plain_line(message)
            lines = [] if line is None else [line]
        self.say(lines)

    def say(self, lines: list[str]) -> None:
        """Prints lines that are safe to print."""
        self.out.put("".join(f"{line}\n" for line in lines))


def open_face(out: Outlet, err: Outlet, *, as_json: bool) -> Face:
    """The face for this stdout."""
    if as_json:
        return JsonFace(out, err)
    if os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb":
        from warmlane.cli.live import LiveFace

        return LiveFace(out, err)
    return PlainFace(out, err)
