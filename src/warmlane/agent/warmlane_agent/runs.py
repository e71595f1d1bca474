"""The blocks under way, and the processes that serve them: supervisors and zygotes.

Every child of the agent is one that it has forked and not yet waited for, or else an orphan that a killed supervisor or
zygote has left. Orphans are hunted until none is left; only then is the run that they may belong to over.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket

from .door import Refused
from .files import drain, spool, write_all
from .processes import exists, fork, signal_below
from .supervisor import supervise
from .zygote import COLD, Zygote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .door import Door
    from .loop import Loop
    from .settings import Settings

ZYGOTES = 8


class _Run:
    """One block. `conn` and `body` are here until its supervisor has them: one that a zygote is to fork says so."""

    def __init__(self, name: str, conn: int, body: bytes) -> None:
        self.name, self.conn, self.body = name, conn, body
        self.zygote: Zygote | None = None  # the one that it waits for
        self.control: int | None = None
        self.pid = 0  # its supervisor's
        self.clean = False  # its supervisor has said that the block is gone
        self.lost = False  # its supervisor has gone without
        self.waiters: list[int] = []  # who wants it to end


class Runs:
    """`hunting`: `hunt` is to be called every few milliseconds."""

    def __init__(self, settings: Settings, loop: Loop, door: Door) -> None:
        self.hunting = False
        self._settings = settings
        self._loop = loop
        self._door = door
        self._runs: dict[str, _Run] = {}
        self._waiting: list[_Run] = []
        self._zygotes: dict[str, Zygote] = {}  # the one used last at the end
        self._cold: set[str] = set()  # modules that cannot be kept warm
        self._children: set[int] = set()

    def __len__(self) -> int:
        return len(self._runs)

    def start(self, fd: int, name: str, body: bytes) -> None:
        """Runs a block, and streams to that connection. Raises Refused."""
        if name in self._runs:
            raise Refused(409, "that run is under way")
        module = _module(body)
        for other in self._runs.values():
            if other.control is not None and not other.clean:
                self._take(other, other.control)  # that it is gone was said before our client could know
        self._door.give(fd)
        run = self._runs[name] = _Run(name, fd, body)
        zygote = self._warm(module) if module and module not in self._cold else None
        if zygote is None:
            self._fork_supervisor(run)
        elif zygote.ready:
            self._send(run, zygote)
        else:
            run.zygote = zygote
            self._waiting.append(run)
            self._loop.watch(fd, self._listen, run)

    def delete(self, fd: int, name: str) -> None:
        """Ends a run, and answers when it is over."""
        run = self._runs.get(name)
        if run is None:
            return self._door.answer(fd, 200, {"gone": True})
        self._door.give(fd)
        run.waiters.append(fd)
        if run.control is not None:
            with contextlib.suppress(OSError):
                os.write(run.control, b"x")
        elif run in self._waiting:
            self._give_up(run)
        return None

    def reap(self, wake: int) -> None:
        """Waits for the children that have ended."""
        drain(wake)
        self._reap()

    def hunt(self) -> None:
        """Kills whatever is below us and not below one of our own."""
        self._reap()
        lost = [run for run in self._runs.values() if run.lost]
        if not signal_below(signal.SIGKILL, spare=self._children) and not any(
            exists(run.pid) for run in lost if run.pid
        ):
            self.hunting = False
            for run in lost:
                self._finish(run)

    def close(self) -> None:
        """Kills everything; returns when it is gone."""
        self._children.clear()
        while signal_below(signal.SIGKILL):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, 0)  # whoever is below us is below a child of ours, and each has been killed

    # From a request to a supervisor

    def _fork_supervisor(self, run: _Run) -> None:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            return self._refuse(run, error)
        try:
            run.pid = fork(supervise, self._settings, run.conn, theirs.fileno(), run.body)
        except OSError as error:
            ours.close()
            return self._refuse(run, error)
        finally:
            theirs.close()
        self._children.add(run.pid)
        self._let_go(run)
        return self._follow(run, ours)

    def _refuse(self, run: _Run, error: OSError) -> None:
        del self._runs[run.name]
        self._door.take(run.conn)
        self._door.answer(run.conn, 503, {"error": f"no process can be started: {error.strerror}"})

    def _send(self, run: _Run, zygote: Zygote) -> None:
        with contextlib.ExitStack() as stack:
            try:
                body = spool(self._settings.scratch)
                stack.callback(os.close, body)
                write_all(body, run.body)
                ours, theirs = socket.socketpair()
                stack.callback(theirs.close)
                zygote.send(run.conn, theirs.fileno(), body)
            except OSError:
                pass  # it has just died, or there is no room
            else:
                return self._follow(run, ours)
        return self._fork_supervisor(run)

    def _let_go(self, run: _Run) -> None:
        if run.body:
            os.close(run.conn)
            run.body = b""

    def _follow(self, run: _Run, control: socket.socket) -> None:
        control.setblocking(False)
        run.control = control.detach()
        self._loop.watch(run.control, self._hear, run, run.control)

    # While it runs

    def _hear(self, run: _Run, control: int) -> None:
        """What a supervisor says."""
        if self._take(run, control):
            return
        self._loop.unwatch(control)
        os.close(control)
        run.control = None
        if run.clean:
            self._finish(run)
        elif run.body and not run.waiters:  # its zygote has died with it unread
            self._fork_supervisor(run)
        else:
            self._let_go(run)
            run.lost = self.hunting = True

    def _take(self, run: _Run, control: int) -> bool:
        """Takes note of what it has said; whether it may say more."""
        word = b""
        try:
            word = os.read(control, 64)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        if word:
            run.pid = int(word.rstrip(b".") or run.pid)
            run.clean = word.endswith(b".")
            self._let_go(run)
            self._tidy()
        return bool(word)

    def _tidy(self) -> None:
        """Nothing that blocks have left is there for the next one, once none of them is."""
        if all(run.clean for run in self._runs.values()):
            self._settings.leftovers.clear()

    def _finish(self, run: _Run) -> None:
        del self._runs[run.name]
        if run.lost:
            self._tidy()
        for fd in run.waiters:
            self._door.take(fd)
            self._door.answer(fd, 200, {"gone": True})

    def _listen(self, run: _Run) -> None:
        """A client whose run waits for its zygote can only go."""
        gone = True
        with contextlib.suppress(ConnectionError):
            gone = not os.read(run.conn, 4096)
        if gone:
            self._give_up(run)

    def _give_up(self, run: _Run) -> None:
        """A run that waits is not wanted any more; nor is its zygote, if no other run waits for it."""
        self._waiting.remove(run)
        self._loop.unwatch(run.conn)
        os.close(run.conn)
        if run.zygote and not any(other.zygote is run.zygote for other in self._waiting):
            self._bury(run.zygote)
        run.lost = self.hunting = True

    # Zygotes

    def _warm(self, module: str) -> Zygote | None:
        """The zygote of a module, a new one if need be, None if there is no room for one."""
        zygote = self._zygotes.pop(module, None)
        if zygote and zygote.ready and zygote.stale():
            self._retire(zygote)
            zygote = None
        if not zygote:
            if len(self._zygotes) >= ZYGOTES:
                oldest = next((old for old in self._zygotes.values() if old.ready), None)
                if not oldest:
                    return None
                del self._zygotes[oldest.module]
                self._retire(oldest)
            try:
                zygote = Zygote(self._settings, module)
            except OSError:
                return None
            self._children.add(zygote.pid)
            self._loop.watch(zygote.sock.fileno(), self._attend, zygote)
        self._zygotes[module] = zygote
        return zygote

    def _attend(self, zygote: Zygote) -> None:
        """A zygote is ready, or is none."""
        word = zygote.hear()
        if word == COLD:
            self._cold.add(zygote.module)
        if not zygote.ready or not word:
            self._bury(zygote)
        runs = [run for run in self._waiting if run.zygote is zygote]
        self._waiting = [run for run in self._waiting if run.zygote is not zygote]
        for run in runs:
            self._loop.unwatch(run.conn)
            if zygote.ready:
                self._send(run, zygote)
            else:  # the block imports by itself, and shows what goes wrong with that
                self._fork_supervisor(run)

    def _retire(self, zygote: Zygote) -> None:
        self._loop.unwatch(zygote.sock.fileno())
        zygote.close()

    def _bury(self, zygote: Zygote) -> None:
        """It is dead, or to die, with all that is below it."""
        del self._zygotes[zygote.module]
        self._retire(zygote)
        self._children.discard(zygote.pid)
        self.hunting = True

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            pid = -1
            while pid:
                pid, _ = os.waitpid(-1, os.WNOHANG)
                self._children.discard(pid)
                for zygote in [zygote for zygote in self._zygotes.values() if zygote.pid == pid]:
                    zygote.sock.shutdown(socket.SHUT_RDWR)  # what it started may still hold the other end


def _module(body: bytes) -> str:
    """The module of a python block; empty for a command. Raises Refused if the request is for neither."""
    try:
        call = json.loads(body[: body.index(b"\n")])
        target, command = call.get("python"), call.get("command")
        complete = {"execution_id", "block_id", "attempt"} <= call.keys()
        if complete and float(call["terminate_grace"]) >= 0 and int(call["output_limit"]) >= 0:
            if target is not None and all(target.partition(":")[::2]):
                return str(target.partition(":")[0])
            if target is None and command and all(isinstance(word, str) for word in command):
                return ""
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    raise Refused(400, "that is not a block")
