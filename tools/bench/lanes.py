"""A lane of three trivial blocks: the first run of a session, and later ones, which find their containers asleep."""

import subprocess
from time import perf_counter

from bench.ground import NOTHING, Ground, all_in, copies, timed, until_pool
from bench.raw import RawBox
from bench.stats import Figure, median_at_most, milliseconds
from warmlane import Session, Settings, WorkflowPlan, open_session

_WIDTH = 3


async def measure(ground: Ground) -> list[Figure]:
    """First and later runs, `docker run` as often side by side, and the raw API doing the same."""
    plan = ground.plan(copies(NOTHING, _WIDTH))
    first, later = [], []
    raw_first, raw_later, commands = [], [], []
    for _ in range(ground.rounds(10)):
        boxes = [ground.raw.box(ground.container()) for _ in range(_WIDTH)]
        raw_first.append(_raw_first(ground, boxes))
        async with open_session("docker", settings=Settings(max_containers=_WIDTH)) as session:
            first.append(await _run(session, plan))
            for _ in range(6):
                await until_pool(session, all_in("dormant", _WIDTH))
                raw_later.append(_raw_later(ground, boxes))
                later.append(await _run(session, plan))
            commands.append(timed(lambda: _docker_run(ground)))
        ground.remove(boxes)
    return [
        Figure(
            name=f"lane of {_WIDTH}, first run",
            sample=milliseconds(first),
            floor_name="raw create, start, health, block",
            floor=milliseconds(raw_first),
        ),
        Figure(
            name=f"lane of {_WIDTH} dormant, later runs",
            sample=milliseconds(later),
            floor_name="raw unpause, health, block",
            floor=milliseconds(raw_later),
            promises=(median_at_most(60),),
        ),
        Figure(
            name="the same beside docker run",
            sample=milliseconds(later),
            floor_name=f"docker run, {_WIDTH} side by side",
            floor=milliseconds(commands),
        ),
    ]


async def _run(session: Session, plan: WorkflowPlan) -> float:
    began = perf_counter()
    report = await session.run(plan)
    spent = perf_counter() - began
    if report.failures:
        raise RuntimeError(f"a block failed: {report.failures}")
    return spent


def _raw_first(ground: Ground, boxes: list[RawBox]) -> float:
    def first(box: RawBox) -> None:
        box.create()
        box.wait_healthy()
        box.block(python=NOTHING.python)

    spent = timed(lambda: ground.side_by_side(first, boxes))
    ground.side_by_side(RawBox.pause, boxes)
    return spent


def _raw_later(ground: Ground, boxes: list[RawBox]) -> float:
    def later(box: RawBox) -> None:
        box.unpause()
        box.wait_healthy()
        box.block(python=NOTHING.python)

    spent = timed(lambda: ground.side_by_side(later, boxes))
    ground.side_by_side(RawBox.pause, boxes)
    return spent


def _docker_run(ground: Ground) -> None:
    command = ["docker", "run", "--rm", "--network=none", ground.image, "python3", "-c", "pass"]
    running = [subprocess.Popen(command) for _ in range(_WIDTH)]
    if max(process.wait() for process in running) != 0:
        raise RuntimeError("docker run failed")
