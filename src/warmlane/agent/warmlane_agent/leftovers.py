"""What blocks leave outside of their own directories, in a container that is theirs alone; and taking it away.

On the host itself all of this is the user's: there, nothing is looked at and nothing taken away.
"""

from __future__ import annotations

import contextlib
import os

from .files import OWN, remove

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SYSVIPC = "/proc/sysvipc"
IPC_RMID = 0
ARGUMENTS = {"shm": (IPC_RMID, None), "sem": (0, IPC_RMID), "msg": (IPC_RMID, None)}  # of shmctl, semctl, msgctl


class Leftovers:
    """What is in `folders`, as far as they can be written; SYSVIPC stands for shared memory, semaphores and queues of
    that kind. What is there at first stays, and so does what cannot be removed."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = [folder for folder in folders if os.access(folder, os.W_OK)]
        self._ipc = tuple(ARGUMENTS) if SYSVIPC in folders else ()
        self._first = self.now()

    def now(self) -> set[tuple[str, str]]:
        """All that can be seen: kind and name."""
        found: set[tuple[str, str]] = set()
        for folder in self._folders:
            with contextlib.suppress(OSError):
                found.update(("file", f"{folder}/{name}") for name in os.listdir(folder))
        for kind in self._ipc:
            with contextlib.suppress(OSError), open(f"{SYSVIPC}/{kind}", "rb", 0) as file:
                found.update((kind, line.split()[1].decode()) for line in file.readall().splitlines()[1:])
        return found

    def clear(self) -> None:
        """Takes everything away. Only while no block runs."""
        for kind, name in self.now() - self._first:
            if kind == "file":
                remove(name)
            else:
                import ctypes

                getattr(ctypes.CDLL(None), kind + "ctl")(int(name), *ARGUMENTS[kind])


def of_strangers(found: set[tuple[str, str]]) -> bool:
    """Whether there is anything that the agent has not made itself."""
    return any(kind != "file" or not os.path.basename(name).startswith(OWN) for kind, name in found)
