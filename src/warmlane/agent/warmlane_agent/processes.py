"""Processes: starting them, adopting them, and finding and ending all that is below this one."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any


PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38


class _Kernel:
    """What Python has no function for; loaded once, by the agent, for all that are forked from it."""

    prctl: Any = None


def adopt_orphans() -> None:
    """Makes this process the parent of every orphan below it, and keeps them from becoming another user."""
    if _Kernel.prctl is None:
        import ctypes

        _Kernel.prctl = ctypes.CDLL(None).prctl
        _Kernel.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # what sudo starts could not be killed
    if _Kernel.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("the kernel does not let us adopt orphans")


def fork(function: Callable[..., Any], *args: Any) -> int:
    """Runs `function` in a child process, which never returns from it."""
    pid = os.fork()
    if pid:
        return pid
    try:
        function(*args)
    except BaseException as error:  # noqa: BLE001 - whatever it is, this process must not go on with its parent's work
        with contextlib.suppress(BaseException):
            sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(70)


def wakeup() -> int:
    """A descriptor that becomes readable with every signal that is handled; a child's end is, from now on."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _pass)
    return reader


def _pass(*_: object) -> None:
    pass


def default_signals() -> None:
    """What the agent and its supervisors handle is as it was for what they start."""
    writer = signal.set_wakeup_fd(-1)
    if writer >= 0:
        os.close(writer)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def close_all(keep: Collection[int]) -> None:
    """Closes all descriptors but the first three and those."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(name))


def exists(pid: int) -> bool:
    """Whether there is such a process, be it a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def signal_below(*signals: int, spare: Collection[int] = ()) -> bool:
    """Sends signals to every process below this one but those in `spare` and below; whether there was any.

    Whole groups at once where that hits nobody else, so that a shell cannot go on to its next command.
    """
    table = _processes()
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in table.items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    front = [os.getpid()]
    while front:
        fresh = [pid for pid in children.get(front.pop(), ()) if pid not in spare and pid not in found]
        found.update(fresh)
        front += fresh
    others = {group for pid, (_, group) in table.items() if pid not in found} | {0, 1}
    targets = {pid if table[pid][1] in others else -table[pid][1] for pid in found}
    for number in signals:
        for target in targets:
            with contextlib.suppress(OSError):
                os.kill(target, number)
    return bool(found)


def _processes() -> dict[int, tuple[int, int]]:
    """pid -> (parent, process group) of all processes that can be seen."""
    table: dict[int, tuple[int, int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError), open(f"/proc/{name}/stat", "rb", 0) as file:
                _, parent, group = file.read().rpartition(b")")[2].split()[:3]
                table[int(name)] = (int(parent), int(group))
    return table


def signal_name(number: int) -> str:
    """`SIGKILL`; `signal 35` for those without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
