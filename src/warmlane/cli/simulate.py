"""`warmlane simulate`: what could become of a plan, played many times on a host that fails, hangs and lies.

Nothing of the plan is executed. One seed is one course of events, and comes out the same each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from warmlane.cli import exits
from warmlane.monitor.plain import number_of
from warmlane.plan.model import WorkflowPlan
from warmlane.simulation import Kind, Played, Summary, simulate


def simulate_plan(
    plan: WorkflowPlan, inputs: Mapping[str, Any], *, first: int, number: int, say: Callable[[str], None]
) -> int:
    """Plays `number` seeds from `first` on, and says what came of them. Returns the exit code: 1 if one of them broke
    a promise, which would be a bug of ours. A single seed is told in full."""
    last: list[Played] = []

    def keep(played: Played) -> None:
        last[:] = [played]

    summary = simulate(range(first, first + number), plan, inputs=inputs, on_played=keep)
    if number == 1:
        say("\n".join(told(last[0])))
    say("\n".join(table(summary)))
    for played in summary.broken[:1]:
        say("\n".join([f"seed {played.seed} broke a promise; this is a bug in Warmlane:", *played.broken]))
    if summary.broken:
        return exits.FAILED
    say("no promise was broken: each block had its result, and nothing was left")
    return exits.COMPLETED


def told(played: Played) -> Iterator[str]:
    """All that went wrong in one seed, and how its runs ended."""
    yield from played.story
    for number, ending in enumerate(played.endings, 1):
        yield f"run {number}: {ending.words}, after {ending.seconds:.3f} s"
    yield ""


def table(summary: Summary) -> Iterator[str]:
    """A line for each kind of ending, the most frequent first."""
    yield (
        f"{number_of(summary.seeds, 'session')} on a simulated host: {number_of(summary.lives, 'container')} lived, "
        f"{number_of(summary.faults, 'thing')} went wrong"
    )
    yield ""
    kinds = sorted(summary.kinds.values(), key=lambda kind: (-kind.count, kind.words))
    width = max([len("a run was"), *(len(kind.words) for kind in kinds)])
    yield f"{'a run was':<{width}}  {'times':>7}  {'longest':>10}  in seed"
    for kind in kinds:
        yield line(kind, width)
    yield ""


def line(kind: Kind, width: int) -> str:
    """One line of the table; times are simulated seconds."""
    return f"{kind.words:<{width}}  {kind.count:>7}  {kind.worst:>8.1f} s  {kind.seed}"
