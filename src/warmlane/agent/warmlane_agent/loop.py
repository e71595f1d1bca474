"""What the agent's parts share: one poll, and for every descriptor what is to be done when it can be read."""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Loop:
    """Descriptors are watched until they are unwatched, which comes before they are closed."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._actions: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, action: Callable[..., None], *args: Any) -> None:
        self._actions[fd] = lambda: action(*args)
        self._poll.register(fd, select.POLLIN)

    def unwatch(self, fd: int) -> None:
        self._poll.unregister(fd)
        del self._actions[fd]

    def turn(self, patience: float | None) -> None:
        """Waits for so many seconds at most, and does what there is to do."""
        for fd, _ in self._poll.poll(None if patience is None else patience * 1000):
            if fd in self._actions:  # what was done just before may have closed it
                self._actions[fd]()
