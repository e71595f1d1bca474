"""The simulated host with eyes: counts against the cap, and sees who removes what how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from warmlane.runtimes.fake import FakeRuntime
from warmlane.runtimes.fake_faults import Call, Fault
from warmlane.runtimes.fake_host import FakeHost


class WatchedRuntime(FakeRuntime):
    """A fake runtime that writes into `FakeHost.violations` what no pool may do, whatever the host answers.

    deceived: the containers that are not to be counted, for the pool cannot know that they exist.
    """

    def __init__(self, host: FakeHost, cap: int, deceived: set[str], faults: Callable[[Call], Fault | None]) -> None:
        super().__init__(host)
        self._cap = cap
        self._uncounted = deceived
        self._faults = faults
        self._removing: Counter[str] = Counter()
        host.faults = self._on_call

    def _on_call(self, call: Call) -> Fault | None:
        fault = self._faults(call)
        if call.kind == "create":
            others = self.host.boxes.keys() - self._uncounted
            if len(others) >= self._cap:
                self.host.violations.append(f"{call.name} was created beside {len(others)} others")
        return fault

    async def remove(self, name: str) -> None:
        """As the protocol says."""
        if self._removing[name]:
            self.host.violations.append(f"{name} was removed twice at once")
        self._removing[name] += 1
        try:
            await super().remove(name)
        finally:
            self._removing[name] -= 1
