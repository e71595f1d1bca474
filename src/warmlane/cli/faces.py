"""The three faces of a run: lines of JSON for programs, plain lines for logs, a live picture for a terminal.

`face.py` says what a face is.
"""

from __future__ import annotations

import os

from warmlane.cli.face import Face
from warmlane.cli.lines import RunLines
from warmlane.cli.outlet import Outlet
from warmlane.events import Envelope

_UNSAFE_IN_JSON = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}


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
