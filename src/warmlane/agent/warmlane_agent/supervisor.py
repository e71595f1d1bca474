"""The process that looks after one block, from its start until the last of its descendants is gone.

It says to the agent, on `control`: its pid at first, and a dot when the block is gone. The agent says a byte: end it;
when it says nothing any more, it is dead, and the block is killed at once, with no word to the client. The client on
`conn` gets NDJSON; when it hangs up, the block is ended.

A block has ended when its own process has. What else is left of it is killed then, until there is no child any more,
ours or adopted: the kernel knows. Then what is left in the pipes is read, and the exit told. No more is read from the
pipes while the client is slow.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time

from .block import Block
from .files import drain, shut_down
from .lines import Lines
from .processes import adopt_orphans, close_all, default_signals, signal_below, signal_name, wakeup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .settings import Settings

CHUNK = 64 * 1024
BACKLOG = 256 * 1024  # with this much waiting for the client, a block's output is left in its pipes
PARTING = 1.0  # seconds that a client gets to take the last of a block that was ended
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"


class Supervisor:
    """`body` is the request's. Made and run in a process of its own, which has no other descriptors but `others`."""

    def __init__(self, settings: Settings, conn: int, control: int, body: bytes, others: tuple[int, ...] = ()) -> None:
        head, _, self._data = body.partition(b"\n")
        self._call = json.loads(head)
        self._settings = settings
        self._descriptors = [conn, control, *others]
        self._conn: int | None = conn
        self._control: int | None = control
        self._out = bytearray(HEAD)
        self._streams = [Lines("stdout"), Lines("stderr")]
        self._pipes: dict[int, Lines] = {}
        self._child = 0
        self._status: int | None = None
        self._grace = float(self._call["terminate_grace"])
        self._deadline: float | None = None  # once the block is to end: how long there is patience with it

    def run(self, imports: list[int]) -> NoReturn:
        """The whole life. `imports` are files with what was printed when the block's module was imported."""
        os.write(self._descriptors[1], b"%d" % os.getpid())
        adopt_orphans()
        self._wake = wakeup()
        self._pipes = dict(zip(imports, self._streams))
        while self._pipes:
            self._turn()
        kills = self._settings.kills.count()
        block, trouble = None, "it was ended before it was started"
        if self._deadline is None:
            try:
                block = Block(self._settings, self._call, self._data)
                self._start(block)
            except OSError as error:
                trouble = f"it could not be started: {error}"
        while self._child and self._status is None and not self._over():
            self._turn()
        self._kill()
        if self._deadline is not None:
            self._deadline = time.monotonic() + PARTING
        self._read_rest()
        self._send(b"".join(lines.last() for lines in self._streams))
        self._send(self._exit(block, trouble, kills))
        if block:
            block.remove()
        with contextlib.suppress(OSError):
            os.write(self._descriptors[1], b".")  # before the client knows: it may start the next block at once
        while self._out and not self._over():
            self._turn()
        with contextlib.suppress(OSError):
            shut_down(self._descriptors[0])  # the end of this process takes milliseconds more
        os._exit(0)

    def _start(self, block: Block) -> None:
        ends = [os.pipe2(os.O_CLOEXEC) for _ in self._streams]
        readers, writers = [reader for reader, _ in ends], [writer for _, writer in ends]
        try:
            self._child = block.start(writers, [self._wake, *readers, *self._descriptors])
        finally:
            for writer in writers:
                os.close(writer)
            self._pipes = dict(zip(readers, self._streams))
        for reader in readers:
            os.set_blocking(reader, False)

    def _kill(self) -> None:
        pause = 0.001
        while self._reap():
            signal_below(signal.SIGKILL)
            self._turn(pause)
            pause = min(pause * 2, 0.05)

    def _read_rest(self) -> None:
        """Nobody is left to write: what is in the pipes is all, even if a stranger holds them open."""
        for fd in list(self._pipes):
            while not self._over() and self._read(fd):
                while len(self._out) >= BACKLOG and not self._over():
                    self._turn()

    # The pump

    def _turn(self, patience: float | None = None) -> None:
        """Waits for something to happen, and sees to it."""
        if self._deadline is not None and patience is None:
            patience = max(0.0, self._deadline - time.monotonic())
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if self._control is not None:
            poll.register(self._control, select.POLLIN)
        if self._conn is not None:
            poll.register(self._conn, select.POLLIN | (select.POLLOUT if self._out else 0))
        if len(self._out) < BACKLOG:
            for fd in self._pipes:
                poll.register(fd, select.POLLIN)
        for fd, event in poll.poll(None if patience is None else patience * 1000 + 1):
            if fd == self._wake:
                drain(fd)
                self._reap()
            elif fd == self._control:
                self._obey(fd)
            elif fd != self._conn:
                self._read(fd)
            elif event & ~select.POLLOUT:
                self._listen(fd)
        self._flush()

    def _reap(self) -> bool:
        """Whether there is still a child, ours or adopted."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return True
                if pid == self._child:
                    self._status = status
        return False

    def _obey(self, control: int) -> None:
        if os.read(control, 1):
            self._end()
        else:
            self._control = None
            self._hang_up()  # to the client it is the container that is lost, and not the block that has failed
            self._deadline = time.monotonic()

    def _listen(self, conn: int) -> None:
        """A client that has sent its request has nothing more to say; but it can go."""
        try:
            gone = not os.read(conn, CHUNK)
        except BlockingIOError:
            gone = False
        except OSError:
            gone = True
        if gone:
            self._hang_up()

    def _hang_up(self) -> None:
        self._conn = None  # the descriptor stays open: its number must not be another's while it stands in lists
        self._out.clear()
        self._end()

    def _end(self) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + self._grace
            signal_below(signal.SIGTERM, signal.SIGCONT)

    def _over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _read(self, fd: int) -> bool:
        """Whether there may be more."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return False
        if data:
            self._send(self._pipes[fd].feed(data))
            return True
        del self._pipes[fd]
        os.close(fd)
        return False

    def _send(self, data: bytes) -> None:
        if self._conn is not None:
            self._out += data

    def _flush(self) -> None:
        if self._out and self._conn is not None:
            try:
                del self._out[: os.write(self._conn, bytes(self._out[:BACKLOG]))]
            except BlockingIOError:
                return
            except OSError:
                self._hang_up()

    def _exit(self, block: Block | None, trouble: str, kills: int) -> bytes:
        code = number = None
        output = b"null"
        fault: str | None = "error"
        error: str | None = trouble
        if block is None or self._status is None:
            pass  # there was no process
        elif os.WIFSIGNALED(self._status):
            number = os.WTERMSIG(self._status)
            fault, error = "signal", "killed by " + signal_name(number)
        else:
            code = os.WEXITSTATUS(self._status)
            fault, error, output = block.ended(code)
        killed = number == signal.SIGKILL or code == 128 + signal.SIGKILL  # the latter is what a shell says of it
        if killed and self._deadline is None and self._settings.kills.count() > kills:
            fault, error = "oom", self._settings.kills.sentence()
        told = {"code": code, "signal": number, "error": error, "fault": fault}
        return b'{"exit": ' + json.dumps(told).encode()[:-1] + b', "output": ' + output + b"}}\n"


def supervise(settings: Settings, conn: int, control: int, body: bytes) -> NoReturn:
    """The whole life of one that was forked from the agent itself."""
    default_signals()
    close_all(keep=(conn, control))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # it may have been the lifeline
    os.close(null)
    Supervisor(settings, conn, control, body).run([])
