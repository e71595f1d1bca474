"""What every face of a run is: it hears events, and puts text into outlets, which never blocks.

A face is a context manager: left, it has put all that it has to say.
"""
# ruff: noqa: B027  # empty means that a face may, and need not, do more

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from warmlane.cli.outlet import Outlet
from warmlane.events import Envelope
from warmlane.session import Session
from warmlane.terminal import visible_lines


class Face(ABC):
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

    @abstractmethod
    def take(self, envelope: Envelope) -> None:
        """Shows one event."""

    def notice(self, text: str) -> None:
        """Says something about the program itself."""
        self.err.put("".join(f"{line}\n" for line in visible_lines(f"warmlane: {text}")))

    async def keep_fresh(self) -> None:
        """Redraws, until cancelled, what changes with time alone."""
