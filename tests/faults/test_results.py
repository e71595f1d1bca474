"""For any plan and any moment of its end: as many results as blocks, each with its reason."""

from __future__ import annotations

import random
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from warmlane.engine import Report
from warmlane.plan.model import WorkflowPlan
from warmlane.settings import Settings
from warmlane.simulation.drawing import draw_behaviour, draw_plan
from warmlane.simulation.seeding import run_seeded
from warmlane.testing import open_fake_session

randoms = st.integers(0, 2**32).map(random.Random)


async def aborted(plan: WorkflowPlan, blocks: Any, cap: int, moment: float | None, whole: bool) -> Report:
    """Runs it, and ends it at that moment: the run, or the whole session."""
    async with open_fake_session(blocks, settings=Settings(max_containers=cap)) as (session, host):
        execution = session.start(plan)
        if moment is not None:
            await trio.sleep(moment)
            if not whole:
                execution.abort()
        if not whole or moment is None:
            report = await execution.wait()
            assert host.running_blocks() == []
            return report
    report = await execution.wait()
    assert host.leftovers() == []
    return report


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    draw=randoms,
    model=st.sampled_from(["multi-container", "single-container"]),
    cap=st.integers(1, 6),
    moment=st.one_of(st.none(), st.just(0.0), st.floats(0, 0.5), st.floats(0, 20)),
    whole=st.booleans(),
)
def test_as_many_results_as_blocks(
    draw: random.Random, model: str, cap: int, moment: float | None, whole: bool
) -> None:
    plan = draw_plan(draw, model)
    blocks = {block_id: draw_behaviour(draw, failing=0.2) for block_id in plan.blocks}
    report = run_seeded(lambda: aborted(plan, blocks, cap, moment, whole), "results")
    assert [result.block_id for result in report.results] == [
        block_id for lane in plan.lanes for block_id in lane.blocks
    ]
    for result in report.results:
        assert (result.status == "succeeded") == (result.reason is None) == (result.error is None)
    if report.status == "completed":
        assert not any(result.status == "skipped" for result in report.results)
