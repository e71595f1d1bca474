"""The host ports of `tcp` containers. Pure bookkeeping, but for one probe per claim.

A port is given to one container at a time, and is free again only when that container is confirmed gone. One that
another process holds is skipped. The least recently used comes first, so that a late packet meets nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable

from warmlane.errors import NoFreePortError


class PortBook:
    """Which of our ports are taken. `is_free` asks the host; tests and the fake runtime bring their own answer."""

    def __init__(self, ports: Iterable[int], is_free: Callable[[int], bool]) -> None:
        self._free = deque(ports)
        self._range = (min(self._free, default=0), max(self._free, default=0))
        self._taken: set[int] = set()
        self._is_free = is_free

    @property
    def taken(self) -> frozenset[int]:
        """The ports that belong to a container now."""
        return frozenset(self._taken)

    def claim(self, *, besides: Collection[int] = ()) -> int:
        """A port that nobody has, and none of `besides`, until `free`. Raises NoFreePortError."""
        for _ in range(len(self._free)):
            port = self._free.popleft()
            if port not in besides and self._is_free(port):
                self._taken.add(port)
                return port
            self._free.append(port)
        raise NoFreePortError(*self._range, ours=len(self._taken))

    def free(self, port: int) -> None:
        """Gives a port back; its container is confirmed gone."""
        self._taken.remove(port)
        self._free.append(port)
