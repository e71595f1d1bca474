"""The dormancy manager: one nursery, one timer task for each dormant container.

`watch` and `forget` are synchronous, so that falling asleep, waking and the timer cannot be parted by a checkpoint: a
container that was forgotten does not expire, even if its time was up in the same moment.
"""

from __future__ import annotations

from collections.abc import Callable

import trio


class DormancyManager:
    """Owns the timers. `expire(name)` is called, synchronously, when a container has been dormant for its time."""

    def __init__(self, nursery: trio.Nursery, expire: Callable[[str], None]) -> None:
        self._nursery = nursery
        self._expire = expire
        self._timers: dict[str, trio.CancelScope] = {}

    def __len__(self) -> int:
        return len(self._timers)

    def watch(self, name: str, seconds: float) -> None:
        """Starts the timer of a container that has just become dormant."""
        scope = self._timers[name] = trio.CancelScope()
        self._nursery.start_soon(self._run, name, seconds, scope, name=f"dormancy of {name}")

    def forget(self, name: str) -> None:
        """Stops the timer, if there is one: the container is waking, or going."""
        if (scope := self._timers.pop(name, None)) is not None:
            scope.cancel()

    async def _run(self, name: str, seconds: float, scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(seconds)
        if self._timers.get(name) is scope:
            del self._timers[name]
            self._expire(name)
