"""What goes wrong in one simulated session: faults of calls, and what others do to containers behind our back.

All of it is drawn from one generator. What cannot be asked of Warmlane because the host has lied is written down
here: a container that was said to be gone and was not, or that came after it had been removed.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import trio
from attrs import define, field

from warmlane.agent.protocol import Exit
from warmlane.runtimes.fake_faults import (
    AGENT_CALLS,
    Call,
    Fault,
    Kind,
    fails_after,
    fails_before,
    ghost,
    hangs,
    lies,
    refused,
    slow,
)
from warmlane.runtimes.fake_host import FakeHost

RATES = (0.0, 0.02, 0.1, 0.3)
"""How many calls meet a fault, in clement and in foul weather."""
JITTER = 0.3
"""How many of the others take a moment longer, so that orders of arrival vary."""
LONGEST_DELAY = 3.0
LATE_AT_MOST = 0.9
"""A host that lost the connection may still do what it was asked, but so many seconds later at most."""
CALLS_AT_MOST = 100_000
"""More than any session makes that does not turn in circles."""

_LATE_KINDS: tuple[Kind, ...] = ("create", "start", "pause", "unpause", "remove")
_LIES: dict[Kind, tuple[object, ...]] = {
    "prepare": (None,),
    "create": (None,),
    "start": (None,),
    "pause": (None,),
    "unpause": (None,),
    "remove": (None,),
    "alive": (True, False),
    "diagnose": ("it runs",),
    "log_tail": ("",),
    "owned": ((),),
    "health": (None,),
    "run": (Exit(code=0),),
}


@define
class Weather:
    """The faults of one session, as `FakeHost.faults` takes them."""

    draw: random.Random
    rate: float
    calm: bool = False
    """Nothing goes wrong any more."""
    made: list[tuple[Call, Fault]] = field(factory=list[tuple[Call, Fault]])
    deeds: list[tuple[float, str, str]] = field(factory=list[tuple[float, str, str]])
    """What others have done: when, what, to whom."""
    deceived: set[str] = field(factory=set[str])
    """The containers of whose existence or state the host has told us something that was not so."""
    speechless: set[str] = field(factory=set[str])
    """The containers in which an agent may never say how a block ended: only a time-out or an abort ends that."""

    def __call__(self, call: Call) -> Fault | None:
        """The fault of this call, None if all is well."""
        if call.number > CALLS_AT_MOST:
            raise AssertionError(f"{call.number} calls to the host: something turns in circles")
        if self.calm:
            return None
        if self.draw.random() >= self.rate:
            return slow(self.draw.random() * 0.05) if self.draw.random() < JITTER else None
        fault = self._fault(call.kind)
        self.made.append((call, fault))
        if (fault.answer is not None or not fault.does) and not fault.error and not fault.hangs:
            self.deceived.add(call.name)
        if fault.late is not None and call.kind in ("create", "pause"):
            self.deceived.add(call.name)
        if fault.hangs and call.kind in ("run", "request"):
            self.speechless.add(call.name)
        return fault

    def _fault(self, kind: Kind) -> Fault:
        draw = self.draw
        kinds: list[Callable[[], Fault]] = [
            fails_before,
            fails_after,
            lambda: fails_before(refused),
            lambda: fails_after(refused),
            lambda: slow(draw.random() * LONGEST_DELAY),
            hangs,
            lambda: hangs(does=True),
        ]
        if kind in _LIES:
            kinds.append(lambda: lies(draw.choice(_LIES[kind])))
        if kind in _LATE_KINDS:
            kinds.append(lambda: ghost(draw.random() * LATE_AT_MOST))
        if kind in AGENT_CALLS:
            kinds.append(lambda: fails_after(delay=draw.random()))
        return draw.choice(kinds)()

    async def unrest(self, host: FakeHost) -> None:
        """Others lay hands on our containers, and the watch over them breaks, until all is calm."""
        deeds: list[tuple[str, Callable[[str], None]]] = [
            ("killed", host.kill),
            ("removed", host.remove_behind_back),
            ("forgot", host.forget),
            ("killed for memory", host.out_of_memory),
            ("froze", host.freeze),
            ("thawed", host.thaw),
            ("silenced", host.silence),
            ("blinded the watch before", lambda _name: host.lose_sight()),
            ("gave the watch its sight back at", lambda _name: host.regain_sight()),
        ]
        while self.rate and not self.calm:
            await trio.sleep(self.draw.expovariate(3 * self.rate))
            names = host.names()
            if not names:
                continue
            name = self.draw.choice(names)
            said, deed = self.draw.choice(deeds)
            self.deeds.append((trio.current_time(), said, name))
            deed(name)
            if said == "silenced":
                self.speechless.add(name)

    def clear_up(self, host: FakeHost) -> None:
        """From now on nothing goes wrong, and the watch sees again."""
        self.calm = True
        host.regain_sight()
