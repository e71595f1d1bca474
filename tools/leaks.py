"""What a process has that it could leave behind: threads, processes, file descriptors, run directories, containers.

`Holdings.now()` is taken before, `leaks_since` after: it waits a moment for what is just ending, and names what
stays. Tests and benches use it. Only what was added since is named, so what another process does on the machine does
not matter; containers are counted when their owner is this process or one that has died.
"""

import gc
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dockerd.api import Daemon
from warmlane.runtimes import rundir
from warmlane.runtimes.owner import owner_is_dead, owner_label

# Processes inherit it, so that one whose parent has died is still known as started from here.
MARK = "WARMLANE_LEAK_MARK"

_PATIENCE_SECONDS = 3.0
# Trio keeps a worker thread for ten idle seconds; a busy one is named after its work.
_IDLE_THREAD = "Trio thread "


@dataclass(frozen=True)
class Holdings:
    """What this process has at one moment, each as a sentence that names it."""

    items: frozenset[str]

    @classmethod
    def now(cls, daemon: Daemon | None = None) -> Self:
        """Look. With a daemon, its containers are looked at too."""
        found = [*_threads(), *_processes(), *_descriptors(), *_run_directories()]
        return cls(frozenset(found + list(_containers(daemon) if daemon else ())))


def mark_processes() -> None:
    """Have all processes that are started from now on carry our mark."""
    os.environ.setdefault(MARK, f"{os.getpid()}-{time.monotonic_ns()}")


def leaks_since(before: Holdings, daemon: Daemon | None = None) -> list[str]:
    """What there is now that was not there before, and does not end by itself within a moment."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while left := Holdings.now(daemon).items - before.items:
        if time.monotonic() > deadline:
            return sorted(left)
        gc.collect()  # what only a reference cycle holds is no leak
        time.sleep(0.01)
    return []


def _threads() -> Iterator[str]:
    for thread in threading.enumerate():
        if not thread.name.startswith(_IDLE_THREAD):
            yield f"thread {thread.name!r} ({thread.ident})"


def _processes() -> Iterator[str]:
    mark = f"{MARK}={os.environ.get(MARK)}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if _parent(entry) == os.getpid() or mark in (entry / "environ").read_bytes().split(b"\0"):
                words = os.fsdecode((entry / "cmdline").read_bytes()).replace("\0", " ").strip()
                yield f"process {entry.name}: {words or 'ended, but nobody has waited for it'}"
        except OSError:
            continue  # it ended while we looked, or is another user's


def _parent(process: Path) -> int:
    """The fields after the name, which stands in parentheses and may hold anything, are state and parent."""
    return int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])


def _descriptors() -> Iterator[str]:
    for entry in Path("/proc/self/fd").iterdir():
        try:
            yield f"file descriptor {entry.name}: {entry.readlink()}"
        except OSError:
            continue  # the one we look with


def _run_directories() -> Iterator[str]:
    for session in rundir.sessions():
        if session.owner == owner_label() or owner_is_dead(session.owner):
            yield from (f"run directory of session {session.session_id}", *map(str, session.containers))


def _containers(daemon: Daemon) -> Iterator[str]:
    for container in daemon.containers("warmlane.session"):
        owner = container["Labels"].get("warmlane.owner", "")
        if owner == owner_label() or owner_is_dead(owner):
            yield f"container {container['Names']} {container['Id'][:12]} ({container['State']})"
