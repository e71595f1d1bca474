"""Processes, as /proc shows them: who they are, what is below them, which carry our mark. Linux only.

A pid alone says nothing, for it is given again: an `Identity` is a pid, the time when it began and the boot of the
machine, and nobody is signalled by a pid whose identity was not looked at just before. Synchronous, and quick.

Raises OSError if /proc cannot be read at all, for want of file descriptors: then nobody is taken for gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

_GONE = (FileNotFoundError, ProcessLookupError)

MARK = "WARMLANE_AGENT"
"""The environment variable by which all processes of a container are known, whatever has become of their parents."""


@frozen
class Identity:
    """One process, never to be mistaken for another."""

    pid: int
    start: str
    boot: str

    def state(self) -> str | None:
        """The letter of its state (`T`: stopped); None if it has ended, even if nobody has waited for it yet."""
        fields = _stat(self.pid)
        if fields is None or fields[19] != self.start or fields[0] in "ZX" or self.boot != _boot():
            return None
        return fields[0]


def identify(pid: int) -> Identity:
    """Who a process is that we have just started."""
    fields = _stat(pid)
    return Identity(pid, fields[19] if fields else "", _boot())


def is_stopping(pid: int) -> bool:
    """Whether a process that was sent SIGSTOP still runs."""
    fields = _stat(pid)
    return fields is not None and fields[0] not in "TZX"


def below(pid: int) -> list[int]:
    """All descendants of a process whose threads, and whose descendants' threads, are one each."""
    found: list[int] = []
    front = [pid]
    while front:
        parent = front.pop()
        with contextlib.suppress(*_GONE):
            children = [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
            found += children
            front += children
    return found


def marked(mark: str) -> list[int]:
    """All processes that carry this mark, or have an ancestor who does; those without it first."""
    entry = f"{MARK}={mark}".encode()
    children: dict[int, list[int]] = {}
    carriers: list[int] = []
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))) is not None and fields[0] not in "ZX":
            children.setdefault(int(fields[1]), []).append(int(name))
            with contextlib.suppress(*_GONE, PermissionError):
                if entry in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                    carriers.append(int(name))
    others: list[int] = []
    front = list(carriers)
    while front:
        fresh = [pid for pid in children.get(front.pop(), ()) if pid not in carriers and pid not in others]
        others += fresh
        front += fresh
    return others + carriers


def signal_each(pids: Iterable[int], number: signal.Signals) -> None:
    """Signals processes; those that are gone, or not ours, are passed over."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the state on; None if there is no such process."""
    try:
        about = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except _GONE:
        return None
    return about.rpartition(")")[2].split() or None


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
