"""The engine's own time for a block: the fake runtime, on which every call is one checkpoint, on the real clock.

There is nothing to wait for, so on a machine that is not busy the time of the clock is the time of the processor; on a
busy one the latter still tells.
"""

from collections.abc import Sequence
from time import perf_counter, thread_time

import trio

from bench.ground import Ground, copies
from bench.stats import Figure, Sample, median_at_most
from warmlane import Block, Container, ParallelLane, Settings, WorkflowPlan
from warmlane.testing import INSTANT, open_fake_session

_BLOCKS = 1000
_BOUND = 500  # microseconds: 2,000 blocks a second
_SHAPES = {
    "fan-out 1000": ([1000], 10),
    "fan-out 1000 on 100 containers": ([1000], 100),
    "chain 1000": ([1] * 1000, 10),
    "layers 10x100": ([100] * 10, 10),
}


async def measure(ground: Ground) -> list[Figure]:
    """A pair of figures for each shape."""
    return [
        figure
        for shape, (lanes, containers) in _SHAPES.items()
        for figure in await _measure(ground, shape, lanes, containers)
    ]


async def _measure(ground: Ground, shape: str, lanes: Sequence[int], containers: int) -> list[Figure]:
    plan = _plan(lanes, containers)
    ours: list[float] = []
    processor: list[float] = []
    nurseries: list[float] = []
    for _ in range(ground.rounds(10)):
        async with open_fake_session(pace=INSTANT, settings=Settings(max_containers=containers)) as (session, _):
            nurseries.append(await _nurseries(lanes))
            began, spent = perf_counter(), thread_time()
            report = await session.run(plan)
            ours.append(perf_counter() - began)
            processor.append(thread_time() - spent)
            if report.status != "completed":
                raise RuntimeError(f"the run has {report.status}: {report.failures[:3]}")
    return [
        Figure(
            name=f"engine per block, {shape}",
            unit="us",
            sample=_each(ours),
            floor_name="Trio nursery",
            floor=_each(nurseries),
            promises=(median_at_most(_BOUND),),
        ),
        Figure(name="of it the processor's time", unit="us", sample=_each(processor)),
    ]


def _each(seconds: list[float]) -> Sample:
    return Sample(value / _BLOCKS * 1e6 for value in seconds)


def _plan(lanes: Sequence[int], containers: int) -> WorkflowPlan:
    ids = iter(copies(Block(python="bench:nothing"), _BLOCKS))
    shape = [ParallelLane(blocks=[next(ids) for _ in range(width)]) for width in lanes]
    return WorkflowPlan(
        name="bench",
        blocks=copies(Block(python="bench:nothing"), _BLOCKS),
        lanes=shape,
        container=Container(image="bench", transport="unix"),
        max_containers=containers,
    )


async def _nurseries(lanes: Sequence[int]) -> float:
    began = perf_counter()
    for width in lanes:
        async with trio.open_nursery() as nursery:
            for _ in range(width):
                nursery.start_soon(trio.lowlevel.checkpoint)
    return perf_counter() - began
