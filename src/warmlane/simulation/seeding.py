"""Runs a Trio program so that it takes the same course each time: simulated time, and a scheduler with a seed.

Trio has no public way to seed the order in which it runs tasks. It does have what its own plugin for Hypothesis uses:
a generator of its own, and a switch that makes batches of runnable tasks reproducible and shuffles them whole. This
module is the one place that touches them; a Trio without them is refused, for its replays would be none.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

import trio
from trio.testing import MockClock

T = TypeVar("T")

_SWITCH = "_ALLOW_DETERMINISTIC_SCHEDULING"
_GENERATOR = "_r"


def run_seeded(program: Callable[[], Awaitable[T]], seed: str) -> T:
    """Runs it from simulated time 0, in which hours pass at once. Same program and same seed: the same course."""
    with seeded_scheduler(seed):
        return trio.run(program, clock=MockClock(autojump_threshold=0))


@contextmanager
def seeded_scheduler(seed: str) -> Generator[None]:
    """Runs of Trio within it are scheduled by that seed; on leaving, the scheduler is as it was before."""
    scheduler = importlib.import_module("trio._core._run")
    generator = getattr(scheduler, _GENERATOR, None)
    switch = getattr(scheduler, _SWITCH, None)
    if not isinstance(generator, random.Random) or switch is None:
        raise RuntimeError(f"Trio {trio.__version__} has no scheduler that can be seeded in the way known to us")
    state = generator.getstate()
    setattr(scheduler, _SWITCH, True)
    generator.seed(seed)
    try:
        yield
    finally:
        generator.setstate(state)
        setattr(scheduler, _SWITCH, switch)
