"""Whole sessions in bad weather: no promise is broken, and whoever breaks one is caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from warmlane.engine.block import BlockRun
from warmlane.engine.execution import Execution
from warmlane.life import policy
from warmlane.life.table import Step
from warmlane.plan.model import Block, Container, WorkflowPlan
from warmlane.pool.board import Board
from warmlane.pool.dormancy import DormancyManager
from warmlane.pool.keeper import Keeper
from warmlane.pool.pool import Pool
from warmlane.simulation import Played, Summary, simulate, simulate_seed

BATCH = 320
BATCHES = 16
LIVES = 20_000
"""So many containers are to live in one run of the suite, in weather that has met as many faults."""


def told(played: Played) -> str:
    return "\n".join([f"seed {played.seed}:", *played.broken, "what had gone wrong:", *played.story])


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_promise_is_broken(batch: int) -> None:
    """Replay one seed with `simulate_seed(seed)`, or `tools/soak simulate --seed S --seeds 1`."""
    summary = simulate(range(batch * BATCH, (batch + 1) * BATCH))
    assert not summary.broken, told(summary.broken[0])
    assert summary.lives >= LIVES / BATCHES
    assert summary.faults >= LIVES / BATCHES


@pytest.mark.parametrize("seed", [3, 17, 53, 133, 178])
def test_one_seed_is_one_replay(seed: int) -> None:
    first, second = simulate_seed(seed), simulate_seed(seed)
    assert first.digest == second.digest
    assert first.endings == second.endings
    assert len(first.story) == len(second.story)


def test_different_seeds_take_different_courses() -> None:
    assert len({simulate_seed(seed).digest for seed in range(20)}) == 20


def test_a_plan_of_ones_own() -> None:
    plan = WorkflowPlan(
        name="mine",
        container=Container(image="img"),
        blocks={"a": Block(command=("x",)), "b": Block(python="m:f", timeout=1.0)},
        lanes=("a", "b"),
    )
    summary = simulate(range(40), plan)
    assert not summary.broken, told(summary.broken[0])
    assert {"completed", "aborted"} <= set(summary.kinds)
    assert any(kind.worst > 0 for kind in summary.kinds.values())


def test_the_scheduler_is_as_it_was_afterwards() -> None:
    """Else every program of this process would run in one order."""

    async def order() -> list[int]:
        seen: list[int] = []

        async def note(number: int) -> None:
            seen.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(note, number)
        return seen

    simulate_seed(1)
    orders = set()
    for _ in range(40):
        simulate_seed(1)
        orders.add(tuple(trio.run(order)))
    assert len(orders) > 1


# A simulator that finds nothing proves nothing: each of these bugs was made by somebody once.


async def never_ends(self: BlockRun, lease: Any) -> None:
    """A cancelled block is given back unasked whether its processes are gone."""
    self.berths.give(lease, at_once=True)


def forgets(self: Execution) -> None:
    """The warm order of a run outlives it."""
    self._order = None


def counts_too_late(*given: Any) -> Any:
    """A container more than the cap allows."""
    stock, line, warm, cap = given
    return _next_move(stock, line, warm, cap + 1)


async def believes(self: Keeper, slot: Any) -> bool:
    """A removal that failed is taken for one that was done."""
    if not await _removed(self, slot):
        self._board.take(slot, Step.GONE, cause="removed")
        self._changed()
    return True


def expires_awake(self: DormancyManager, name: str) -> None:
    """The timer of a container that has woken goes on."""


def half_a_record(self: Board, *given: Any, **more: Any) -> None:
    """The record is completed after the announcement."""
    slot = given[0]
    block, slot.block_id = slot.block_id, None
    _announce(self, *given, **more)
    slot.block_id = block


def drops_its_waiters(self: Pool, waiter: Any) -> None:
    """Who gives up stays in line."""


_next_move = policy.next_move
_removed = Keeper._removed
_announce = Board._announce


@pytest.mark.parametrize(
    ("where", "what", "bug"),
    [
        (BlockRun, "_end", never_ends),
        (Execution, "_cool_down", forgets),
        ("warmlane.pool.pool.next_move", None, counts_too_late),
        (Keeper, "_removed", believes),
        (DormancyManager, "forget", expires_awake),
        (Board, "_announce", half_a_record),
        (Pool, "_leave", drops_its_waiters),
    ],
    ids=["blocks-left", "order-left", "cap", "not-gone", "expiry", "record", "waiter-left"],
)
def test_bugs_are_found(monkeypatch: pytest.MonkeyPatch, where: Any, what: str | None, bug: Callable[..., Any]) -> None:
    if what is None:
        monkeypatch.setattr(where, bug)
    else:
        monkeypatch.setattr(where, what, bug)
    summary = Summary()
    for seed in range(300):
        summary.add(simulate_seed(seed))
        if summary.broken:
            return
    pytest.fail("300 seeds have not found it")
