"""One simulated container, the images there are, and how long things take."""

from __future__ import annotations

import math
from typing import Literal

import trio
from attrs import define, field, frozen

from warmlane.runtimes.fake_blocks import Run
from warmlane.runtimes.protocol import Birth

BoxState = Literal["created", "running", "paused", "dead"]
ImageKind = Literal["here", "remote", "missing", "no-python", "sick"]
"""`remote` has to be pulled first, `missing` cannot be; `sick` starts and is never healthy."""


@frozen(kw_only=True)
class Pace:
    """How long things take, in seconds; the defaults are like real Docker's. No time at all is one checkpoint."""

    pull: float = 2.0
    create: float = 0.03
    start: float = 0.06
    boot: float = 0.05
    """From the end of `start` to the first healthy answer."""
    pause: float = 0.01
    unpause: float = 0.01
    remove: float = 0.05
    look: float = 0.002
    """`alive`, `diagnose`, `owned`, `log_tail`, and `prepare` of an image that is there."""
    agent: float = 0.001
    """The way to an agent and back."""
    patience: float = 60.0
    """After which `create` and `start` give up a host that hangs."""


INSTANT = Pace(pull=0, create=0, start=0, boot=0, pause=0, unpause=0, remove=0, look=0, agent=0)
"""Every call is one checkpoint: what is left is the engine's own time."""


@define(eq=False)
class Box:
    """One simulated container. `disowned`: the engine was told that it is gone, or was not told that it exists."""

    birth: Birth
    state: BoxState = "created"
    healthy_at: float = math.inf
    silent: bool = False
    disowned: bool = False
    runs: dict[str, Run] = field(factory=dict[str, Run])
    why: str = "it was never started"
    """Why it does not run, if it does not."""
    log: str = ""
    changed: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    @property
    def up(self) -> bool:
        """Whether its processes exist."""
        return self.state in ("running", "paused")

    @property
    def speaks(self) -> bool:
        """Whether its agent would say a word, if it has booted."""
        return self.state == "running" and not self.silent
