"""What can go wrong with one call to the simulated host, and how it is ordered.

The host asks `faults(call)` at each call; a test orders with `Faults`, a simulator brings its own function. A fault
says separately whether the host does what it was asked, and what it answers: that is where real trouble comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from attrs import define, field, frozen

from warmlane.errors import ContainerLostError, RuntimeRefusedError, RuntimeSilentError

Kind = Literal[
    "prepare", "create", "start", "pause", "unpause", "remove", "alive", "diagnose", "log_tail", "owned",
    "health", "run", "end", "request",
]  # fmt: skip

HOST_CALLS: tuple[Kind, ...] = (
    "prepare", "create", "start", "pause", "unpause", "remove", "alive", "diagnose", "log_tail", "owned",
)  # fmt: skip
"""What is asked of the host itself; `prepare` names an image, `owned` nothing."""

AGENT_CALLS: tuple[Kind, ...] = ("health", "run", "end", "request")
"""What is asked of the agent in a container."""


@frozen(kw_only=True)
class Call:
    """One call that was made: the `number`-th of all (from 1), on the container `name`, at trio's time `at`."""

    number: int
    kind: Kind
    name: str
    at: float


_ACTIONS: Mapping[Kind, str] = {
    "prepare": "pull",
    "alive": "inspect",
    "diagnose": "inspect",
    "log_tail": "read the log of",
    "owned": "list the containers",
}


def _action(call: Call) -> str:
    return f"{_ACTIONS.get(call.kind, call.kind)} {call.name}".rstrip()


def broken(call: Call) -> Exception:
    """The connection breaks: nobody knows what has happened."""
    if call.kind in AGENT_CALLS:
        return ContainerLostError(call.name, "the connection was reset")
    return RuntimeSilentError(_action(call), "the connection was reset")


def refused(call: Call) -> Exception:
    """The answer is a 500."""
    if call.kind in AGENT_CALLS:
        return ContainerLostError(call.name, "it answered 500")
    return RuntimeRefusedError(_action(call), "Internal Server Error", status=500)


@frozen(kw_only=True)
class Fault:
    """What becomes of one call. `Fault()` is no fault at all."""

    delay: float = 0.0
    """Seconds by which it takes longer."""
    does: bool = True
    """Whether the host does what it was asked."""
    late: float | None = None
    """It does so, but only so many seconds after its answer."""
    pause: float = 0.0
    """Seconds between doing it and answering."""
    hangs: bool = False
    """It never answers."""
    error: Callable[[Call], Exception] | None = None
    """The answer is this."""
    answer: Any = None
    """What it says if it does nothing and that is no error: a lie."""


def slow(seconds: float) -> Fault:
    """Done and answered, but so much later. For a block: nothing else."""
    return Fault(delay=seconds)


def fails_before(error: Callable[[Call], Exception] = broken) -> Fault:
    """Not done, and an error is the answer."""
    return Fault(does=False, error=error)


def fails_after(error: Callable[[Call], Exception] = broken, *, delay: float = 0.0) -> Fault:
    """Done, but an error is the answer. A block was started, and the connection broke `delay` seconds later."""
    return Fault(error=error, pause=delay)


def hangs(*, does: bool = False) -> Fault:
    """No answer ever; `create` and `start`, which cannot be cancelled, are broken off after `Pace.patience`."""
    return Fault(does=does, hangs=True)


def lies(answer: Any = None) -> Fault:
    """Not done, but all is well, it says; `answer` is what `alive`, `owned` or `run` return."""
    return Fault(does=False, answer=answer)


def ghost(seconds: float, error: Callable[[Call], Exception] = broken) -> Fault:
    """An error is the answer, and it is done all the same, so many seconds later. For calls to the host only."""
    return Fault(late=seconds, error=error)


@define
class _Order:
    fault: Fault
    kinds: tuple[Kind, ...]
    name: str | None
    skip: int
    times: float

    def takes(self, call: Call) -> bool:
        if (self.kinds and call.kind not in self.kinds) or self.name not in (None, call.name):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return self.times >= 0


@define
class Faults:
    """Faults to order. `made` lists what was served: the call and its fault."""

    made: list[tuple[Call, Fault]] = field(factory=list[tuple[Call, Fault]])
    _orders: list[_Order] = field(factory=list[_Order])

    def order(self, fault: Fault, *kinds: Kind, name: str | None = None, skip: int = 0, times: float = 1) -> None:
        """The next `times` calls of these kinds (all, if none is named) on that container, after `skip` good ones."""
        self._orders.append(_Order(fault, kinds, name, skip, times))

    def clear(self) -> None:
        """All is well again."""
        self._orders.clear()

    def __call__(self, call: Call) -> Fault | None:
        for order in self._orders:
            if order.takes(call):
                self.made.append((call, order.fault))
                return order.fault
        return None
