"""Many seeds, and what came of them, as a table counts it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import define, field

from warmlane.plan.model import WorkflowPlan
from warmlane.simulation.one import Played, simulate_seed


@define
class Kind:
    """One kind of ending: how often, the longest in simulated seconds, and a seed in which it came about."""

    words: str
    seed: int
    count: int = 0
    worst: float = 0.0


@define
class Summary:
    """What came of the seeds so far."""

    kinds: dict[str, Kind] = field(factory=dict[str, Kind])
    broken: list[Played] = field(factory=list[Played])
    """The seeds in which a promise was broken."""
    seeds: int = 0
    lives: int = 0
    faults: int = 0

    def add(self, played: Played) -> None:
        """One seed more."""
        self.seeds += 1
        self.lives += played.lives
        self.faults += played.faults
        if played.broken:
            self.broken.append(played)
        for ending in played.endings:
            kind = self.kinds.setdefault(ending.words, Kind(ending.words, played.seed))
            kind.count += 1
            if ending.seconds > kind.worst:
                kind.worst, kind.seed = ending.seconds, played.seed


def simulate(
    seeds: Iterable[int],
    plan: WorkflowPlan | None = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    on_played: Callable[[Played], None] = lambda _played: None,
) -> Summary:
    """Plays these seeds one after the other."""
    summary = Summary()
    for seed in seeds:
        played = simulate_seed(seed, plan, inputs=inputs)
        summary.add(played)
        on_played(played)
    return summary
