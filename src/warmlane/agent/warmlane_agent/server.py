"""The agent itself: it listens, and sees to requests, children and its own end, in one loop."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import sys

from .door import Door, Refused
from .loop import Loop
from .processes import adopt_orphans, wakeup
from .runs import Runs
from .settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ADDRESS_TAKEN = 98
UNREADABLE = 97
BACKLOG = 128
RUN_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
HUNT = 0.02  # seconds between looks at what is hunted


class Agent:
    """Answers `listener` until it is stopped: by SIGTERM, or by the end of its lifeline."""

    def __init__(self, settings: Settings, listener: socket.socket, lifeline: bool) -> None:
        self._stopped = False
        self._loop = Loop()
        self._door = Door(self._loop, listener, settings.token, self._handle)
        self._runs = Runs(settings, self._loop, self._door)
        wake = wakeup()
        self._loop.watch(wake, self._runs.reap, wake)
        for number in (signal.SIGTERM, signal.SIGHUP):  # the latter comes if the engine died while we were frozen
            signal.signal(number, self._stop)
        if lifeline:
            os.set_blocking(0, False)
            self._loop.watch(0, self._hear_lifeline)

    def serve(self) -> None:
        """Returns when it was stopped, and nothing is left below it."""
        while not self._stopped:
            self._loop.turn(HUNT if self._runs.hunting else 1.0 if self._door.busy else None)
            if self._runs.hunting:
                self._runs.hunt()
            self._door.expire()
        self._runs.close()

    def _stop(self, *_: object) -> None:
        self._stopped = True

    def _hear_lifeline(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._stopped = not os.read(0, 4096)

    def _handle(self, fd: int, method: str, path: str, body: bytes) -> None:
        name = path[len("/blocks/") :]
        if (method, path) == ("GET", "/health"):
            self._door.answer(fd, 200, self._health())
        elif not path.startswith("/blocks/") or not 0 < len(name) <= 200 or not RUN_CHARACTERS.issuperset(name):
            raise Refused(404, "there is no such thing")
        elif method == "POST":
            self._runs.start(fd, name, body)
        elif method == "DELETE":
            self._runs.delete(fd, name)
        else:
            raise Refused(405, "that cannot be done here")

    def _health(self) -> dict[str, Any]:
        python = "{}.{}".format(*sys.version_info)
        return {"status": "ok", "agent": 1, "python": python, "runs": len(self._runs)}


def _listen(address: str) -> socket.socket:
    kind, _, place = address.partition("://")
    if kind == "unix":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(place)
        os.chmod(place, 0o666)  # noqa: S103 - the engine may be another user; it alone reaches the directory
    else:
        host, _, port = place.rpartition(":")
        listener = socket.socket(socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
    listener.listen(BACKLOG)
    return listener


def _tidy_up() -> None:
    """Whatever we have inherited: no signal is blocked or ignored, and what is printed is UTF-8 and comes at once."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # which Python ignores
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]


def main() -> int:
    """The whole life of an agent; the exit code."""
    _tidy_up()
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    address = config["listen"]
    workspace = config.get("workspace")
    if workspace and not os.access(os.path.join(workspace, "."), os.R_OK | os.X_OK):
        return UNREADABLE
    try:
        listener = socket.socket(fileno=int(sys.argv[2])) if len(sys.argv) > 2 else _listen(address)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {address}: {error.strerror}\n")
        return ADDRESS_TAKEN if error.errno == errno.EADDRINUSE else 1
    with listener:
        listener.setblocking(False)
        agent = Agent(Settings(config), listener, bool(config.get("lifeline")))
        adopt_orphans()
        agent.serve()
    if address.startswith("unix://"):
        with contextlib.suppress(OSError):
            os.unlink(address[len("unix://") :])
    return 0
