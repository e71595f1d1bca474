"""The three faces of a run: lines of JSON for programs, plain lines for logs, a live picture for a terminal.

A face turns events into text and puts it into outlets, which never blocks. It is a context manager: left, it has put
all that it has to say.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from warmlane.cli.lines import RunLines
from warmlane.cli.outlet import Outlet
from warmlane.events import Envelope
from warmlane.session import Session
from warmlane.terminal import visible

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

    def begin(self, session: Session) -> None:
        """Hears which session the events will be of."""

    def take(self, envelope: Envelope) -> None:
        """Shows one event."""
        raise NotImplementedError

    def notice(self, text: str) -> None:
        """Says something about the program itself."""
        self.err.put("".join(f"warmlane: {visible(line)}\n" for line in text.split("\n")))

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
        self._lines = RunLines()

    def take(self, envelope: Envelope) -> None:
        self.out.put("".join(f"{line}\n" for line in self._lines.of(envelope.message)))


def open_face(out: Outlet, err: Outlet, *, as_json: bool) -> Face:
    """The face for this stdout."""
    if as_json:
        return JsonFace(out, err)
    if os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb":
        from warmlane.cli.live import LiveFace

        return LiveFace(out, err)
    return PlainFace(out, err)
