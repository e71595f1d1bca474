"""How far apart the blocks of a lane start when all containers are warm: as the engine says, and as the blocks see."""

from time import perf_counter

import trio

from bench.ground import Ground, all_in, copies
from bench.raw import RawBox
from bench.stats import Figure, Promise, milliseconds, p95_at_most
from warmlane import Block, Session, Settings, WorkflowPlan, open_session
from warmlane.events import LaneCompleted

_NOW = Block(python="bench_blocks:now")
_WIDTHS: dict[int, tuple[Promise, ...]] = {3: (), 10: (p95_at_most(20),), 50: (p95_at_most(200),)}
WARM = 600.0
"""Seconds that a container is to stay awake after its block: longer than all rounds."""


async def measure(ground: Ground) -> list[Figure]:
    """One pair of figures for each width."""
    return [figure for width, promises in _WIDTHS.items() for figure in await _measure(ground, width, promises)]


async def _measure(ground: Ground, width: int, promises: tuple[Promise, ...]) -> list[Figure]:
    plan = ground.plan(copies(_NOW, width))
    announced: list[float] = []
    seen: list[float] = []
    nursery: list[float] = []
    raw: list[float] = []
    boxes = ground.boxes(width)
    async with open_session("docker", settings=Settings(max_containers=width, pause_grace=WARM)) as session:
        await _warm_up(ground, session, width)
        for _ in range(ground.rounds(40)):
            raw.append(_raw_spread(ground, boxes))
            nursery.append(await _nursery_spread(width))
            first, second = await _our_spread(session, plan)
            announced.append(first)
            seen.append(second)
    ground.remove(boxes)
    return [
        Figure(
            name=f"launch spread, {width} warm",
            sample=milliseconds(announced),
            floor_name="Trio nursery",
            floor=milliseconds(nursery),
            promises=promises,
        ),
        Figure(
            name=f"the same seen in the blocks, {width}",
            sample=milliseconds(seen),
            floor_name="raw block in each, threads",
            floor=milliseconds(raw),
        ),
    ]


async def _warm_up(ground: Ground, session: Session, width: int) -> None:
    """Has every container awake: blocks that are long enough for all of them to be needed at once."""
    rest = Block(python="bench_blocks:rest", input={"seconds": 0.5 + 0.05 * width})
    awake = all_in("cooling", width)
    for _ in range(5):
        await session.run(ground.plan(copies(rest, width)))
        await session.run(ground.plan(copies(_NOW, width)))
        if awake(session.pool_status()):
            return
    raise RuntimeError(f"{width} containers could not be had awake at once: {session.pool_status().counts}")


async def _our_spread(session: Session, plan: WorkflowPlan) -> tuple[float, float]:
    announced: float | None = None
    with session.events(whole=True) as feed:
        report = await session.run(plan)
        while (envelope := feed.receive_nowait()) is not None:
            if isinstance(envelope.event, LaneCompleted):
                announced = envelope.event.launch_spread
    starts = [result.output for result in report.results]
    causes = {result.start.cause for result in report.results if result.start}
    if announced is None or report.failures or not causes <= {"hit", "cooling"}:
        raise RuntimeError(f"not all blocks found a warm container: {causes}, {report.failures}")
    return announced, max(starts) - min(starts)


def _raw_spread(ground: Ground, boxes: list[RawBox]) -> float:
    starts = ground.side_by_side(lambda box: box.block(python=_NOW.python), boxes)
    return float(max(starts) - min(starts))


async def _nursery_spread(width: int) -> float:
    starts: list[float] = []

    async def start() -> None:
        starts.append(perf_counter())
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in range(width):
            nursery.start_soon(start)
    return max(starts) - min(starts)
