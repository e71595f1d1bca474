"""Processes that have imported a module already, for the supervisors of its blocks to be forked from."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import sys

from .files import read_all, spool, write_all
from .functions import load
from .leftovers import of_strangers
from .processes import close_all, default_signals, fork
from .supervisor import Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from .settings import Settings

READY, COLD = b"ready", b"cold"


class Zygote:
    """The agent's end of one. It is sent blocks once it has said READY on `sock`; COLD means that this module cannot
    be kept warm, and no word that it could not be imported. Raises OSError if there is no room for one."""

    def __init__(self, settings: Settings, module: str) -> None:
        self.module = module
        self.ready = False
        self._files: list[list[Any]] = []
        self._notes = spool(settings.scratch)
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.pid = fork(_live, settings, theirs, self._notes, module)
        except OSError:
            self.close()
            raise
        finally:
            theirs.close()

    def hear(self) -> bytes:
        """Its word; nothing if it is gone."""
        word = b""
        with contextlib.suppress(OSError):
            word = self.sock.recv(16)
        if word == READY:
            self.ready = True
            os.lseek(self._notes, 0, os.SEEK_SET)
            self._files = json.loads(read_all(self._notes, 1 << 30))
        return word

    def stale(self) -> bool:
        """Whether a file of the workspace that it has imported is not what it was."""
        return any(_state(path) != state for path, state in self._files)

    def send(self, conn: int, control: int, body: int) -> None:
        """Has it fork a supervisor with these descriptors. Raises OSError."""
        fds = struct.pack("3i", conn, control, body)
        self.sock.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])

    def close(self) -> None:
        """It ends when its last block has."""
        self.sock.close()
        os.close(self._notes)


def _state(path: str) -> list[int] | None:
    with contextlib.suppress(OSError):
        about = os.stat(path)
        return [about.st_mtime_ns, about.st_size]
    return None


def _live(settings: Settings, sock: socket.socket, notes: int, module: str) -> None:
    """The process itself."""
    default_signals()
    close_all(keep=(sock.fileno(), notes))
    os.setsid()
    before = settings.leftovers.now()
    printed = _import(settings, module)
    if _has_company() or of_strangers(settings.leftovers.now() - before):  # that goes with a block
        sock.send(COLD)
        return
    files = {getattr(imported, "__file__", None) for imported in list(sys.modules.values())}
    own = os.path.join(settings.workspace, "") if settings.workspace else "\0"
    states = [[path, _state(path)] for path in files if path and path.startswith(own)]
    write_all(notes, json.dumps(states).encode())
    os.close(notes)
    import gc

    gc.freeze()  # no collection touches, and so copies, what the blocks share
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps supervisors
    sock.send(READY)
    _serve(settings, sock, printed)


def _import(settings: Settings, module: str) -> list[int]:
    """Imports, and returns what was printed: two files."""
    printed = [spool(settings.scratch), spool(settings.scratch)]
    null, log = os.open(os.devnull, os.O_RDONLY), os.dup(2)
    for place, fd in enumerate([null, *printed]):
        os.dup2(fd, place)
    load(module, settings.workspace)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for place in (1, 2):
        os.dup2(log, place)
    os.close(null)
    os.close(log)
    for fd in printed:
        os.lseek(fd, 0, os.SEEK_SET)
    return printed


def _has_company() -> bool:
    """Whether the import has started threads or processes, which a fork of this process would not have."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
        return True
    return len(os.listdir("/proc/self/task")) > 1


def _serve(settings: Settings, sock: socket.socket, printed: list[int]) -> NoReturn:
    while True:
        message, ancillary, _, _ = sock.recvmsg(1, socket.CMSG_SPACE(12))
        if not message or not ancillary:
            break
        fds = struct.unpack("3i", ancillary[0][2])
        with contextlib.suppress(OSError):  # no room for a process: the agent sees that the run is lost
            fork(_supervise, settings, fds, sock.fileno(), printed)
            while printed:  # the first block's log has it
                os.close(printed.pop())
        for fd in fds:
            os.close(fd)
    with contextlib.suppress(ChildProcessError):  # the agent knows its supervisors by their parent
        os.waitpid(-1, 0)
    os._exit(0)


def _supervise(settings: Settings, fds: tuple[int, int, int], sock: int, printed: list[int]) -> NoReturn:
    conn, control, spooled = fds
    os.lseek(spooled, 0, os.SEEK_SET)
    body = read_all(spooled, 1 << 40)
    os.close(spooled)
    Supervisor(settings, conn, control, body, (sock,)).run(printed)
