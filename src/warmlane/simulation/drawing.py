"""What one seed plays: plans, what their blocks do, and how each run of them comes to its end."""

from __future__ import annotations

import random
from typing import Any, Literal

from attrs import frozen

from warmlane.plan.model import Block, Container, ParallelLane, WorkflowPlan
from warmlane.runtimes.fake_blocks import BlockFunction, FakeCall, Killed, fails, ignores_sigterm, prints, sleeps
from warmlane.runtimes.fake_box import INSTANT, ImageKind, Pace
from warmlane.settings import Settings

Way = Literal["run", "start", "abort", "cancel", "exception", "twins", "leave"]
"""run and start: to the end. abort, cancel (the caller's scope), exception (in the caller's body): at a moment.
twins: two runs at once, of which one is aborted. leave: the session is left while it runs."""

WAYS: tuple[Way, ...] = ("run", "start", "abort", "cancel", "exception", "twins")
IMAGES = ("red", "green", "blue")
FAILING = 0.1
"""How many blocks of a user's plan fail by themselves; of drawn ones, twice as many."""
TAKEN = 0.1
"""How many of the ports others hold, and how many of the images are not there yet."""


@frozen(kw_only=True)
class Act:
    """One run, or two. moment: seconds from its start until it is ended from outside. gap: seconds of quiet after."""

    way: Way
    plan: WorkflowPlan
    moment: float
    gap: float


@frozen(kw_only=True)
class Scenario:
    """All of one session but its weather."""

    cap: int
    pace: Pace
    acts: tuple[Act, ...]
    behaviour: dict[str, BlockFunction]
    images: dict[str, ImageKind]
    taken_ports: frozenset[int]
    """Host ports that others hold."""

    @property
    def alone(self) -> bool:
        """Whether each block has a container to itself."""
        return all(act.plan.parallelism_model == "multi-container" for act in self.acts)


def draw_scenario(draw: random.Random, plan: WorkflowPlan | None) -> Scenario:
    """A session around this plan, or around plans that are drawn, too."""
    model: Any = draw.choice(["multi-container"] * 4 + ["single-container"])
    acts = [_act(draw, plan or draw_plan(draw, model)) for _ in range(draw.randint(1, 3))]
    if draw.random() < 0.2:
        acts.append(Act(way="leave", plan=acts[-1].plan, moment=_moment(draw), gap=0))
    ids = sorted({block_id for act in acts for block_id in act.plan.blocks})
    images = sorted({act.plan.container_of(block_id).image or "" for act in acts for block_id in act.plan.blocks})
    return Scenario(
        cap=plan.max_containers if plan else draw.randint(1, 6),
        pace=INSTANT if draw.random() < 0.3 else Pace(),
        acts=tuple(acts),
        behaviour={block_id: draw_behaviour(draw, FAILING if plan else 2 * FAILING) for block_id in ids},
        images={image: "remote" for image in images if draw.random() < TAKEN},
        taken_ports=frozenset(port for port in Settings().ports if draw.random() < TAKEN),
    )


def _act(draw: random.Random, plan: WorkflowPlan) -> Act:
    gap = draw.choice([0.0, draw.random(), 10 * draw.random(), 400 * draw.random()])
    return Act(way=draw.choice(WAYS), plan=plan, moment=_moment(draw), gap=gap)


def _moment(draw: random.Random) -> float:
    return draw.choice([0.0, 0.2 * draw.random(), 4 * draw.random()])


def draw_plan(draw: random.Random, model: Any) -> WorkflowPlan:
    """One to seven blocks in lanes, of one to three specifications."""
    ids = [f"b{number}" for number in range(draw.randint(1, 7))]
    blocks = {block_id: _block(draw, model) for block_id in ids}
    lanes: list[ParallelLane] = []
    while ids:
        width = draw.randint(1, len(ids))
        mode: Any = draw.choice(["strict", "lenient"])
        lanes.append(ParallelLane(blocks=tuple(ids[:width]), failure_mode=mode))
        ids = ids[width:]
    return WorkflowPlan(
        name="drawn",
        blocks=blocks,
        lanes=tuple(lanes),
        container=Container(image=IMAGES[0]),
        parallelism_model=model,
        max_containers=draw.randint(1, 5),
        dormancy_timeout=draw.choice([0.1, 5.0, 300.0]),
        timeout=draw.choice([None, None, None, None, 0.1, 1.0, 4.0]),
    )


def _block(draw: random.Random, model: str) -> Block:
    timeout = draw.choice([0.01, 0.5, 5.0]) if draw.random() < 0.6 else None
    own = Container(image=draw.choice(IMAGES)) if model == "multi-container" and draw.random() < 0.4 else Container()
    return Block(command=("true",), timeout=timeout, container=own)


def draw_behaviour(draw: random.Random, failing: float) -> BlockFunction:
    """A block: most do well after a while; this share fails, is killed, or exceeds its memory."""
    seconds = draw.choice([0.0, draw.random(), 5 * draw.random()])
    oom = draw.random() < 0.5

    def dies(_call: FakeCall) -> None:
        raise Killed(oom=oom)

    if draw.random() < failing:
        return draw.choice([fails("it was drawn to fail", after=seconds), dies])
    well = [sleeps(seconds), prints(["a line", "another"], every=seconds / 2), ignores_sigterm(seconds)]
    return draw.choice(well)
