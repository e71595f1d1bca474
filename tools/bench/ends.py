"""How soon it is quiet: a container after its block, while its siblings run on; and everything after an abort."""

import json
from contextlib import ExitStack
from time import perf_counter

from bench.ground import NOTHING, Ground, copies, timed
from bench.raw import RawBox
from bench.stats import Figure, all_at_most, milliseconds, p95_at_most
from warmlane import Block, Session, Settings, open_session
from warmlane.events import BlockCompleted, BlockLog, ContainerStateChanged

_WIDTH = 10
_GONE = ("dormant", "removed")


async def measure_pause(ground: Ground) -> list[Figure]:
    """From a block's end to its container being frozen, with a sibling that runs on."""
    ours: list[float] = []
    raw: list[float] = []
    settings = Settings(max_containers=3)
    sibling = Block(python="bench_blocks:rest", input={"seconds": 1.2})
    blocks = {"first": NOTHING, "second": NOTHING, "sibling": sibling}
    box = ground.raw.healthy(ground.container())
    async with open_session("docker", settings=settings) as session:
        await session.run(ground.plan(blocks))
        for _ in range(ground.rounds(20)):
            raw.append(settings.pause_grace + timed(box.pause))
            box.unpause()
            ours += await _pauses(ground, session, blocks)
    ground.raw.remove(box)
    return [
        Figure(
            name="paused after a block's end, sibling running",
            sample=milliseconds(ours),
            floor_name="the grace, raw pause",
            floor=milliseconds(raw),
            promises=(all_at_most(500),),
        )
    ]


async def _pauses(ground: Ground, session: Session, blocks: dict[str, Block]) -> list[float]:
    ended: dict[str | None, float] = {}
    taken: set[str | None] = set()
    slept: list[float] = []
    with session.events(whole=True) as feed:
        execution = session.start(ground.plan(blocks))
        async for envelope in feed:
            event = envelope.event
            if isinstance(event, BlockCompleted):
                if event.result.block_id == "sibling":
                    break
                if event.result.container_id not in taken:  # else it has been handed on to another block
                    ended[event.result.container_id] = envelope.at
            elif isinstance(event, ContainerStateChanged):
                if event.phase == "running":
                    taken.add(event.container_id)
                    ended.pop(event.container_id, None)
                    continue
                taken.discard(event.container_id)
                if event.phase == "dormant" and event.container_id in ended:
                    slept.append(envelope.at - ended.pop(event.container_id))
                    _check_paused(ground, event.name)
    if ended:
        raise RuntimeError("the sibling ended before the containers of the others slept")
    await execution.wait()
    return slept


def _check_paused(ground: Ground, name: str) -> None:
    about = json.loads(ground.raw.docker.call("GET", f"/containers/{name}/json"))
    if not about["State"]["Paused"]:
        raise RuntimeError(f"{name} is said to be dormant, and is not paused")


async def measure_abort(ground: Ground) -> list[Figure]:
    """From `abort()` to the report, in which every container is dormant or gone; for blocks that heed SIGTERM, and for
    blocks that do not."""
    return [
        await _measure_abort(ground, "bench_blocks:rest", "abort of 10 blocks to settled", 1000),
        await _measure_abort(ground, "bench_blocks:rest_deaf", "the same, blocks ignore SIGTERM", 1500),
    ]


async def _measure_abort(ground: Ground, function: str, name: str, bound: float) -> Figure:
    ours: list[float] = []
    raw: list[float] = []
    block = Block(python=function, input={"seconds": 60})
    boxes = ground.boxes(_WIDTH)
    async with open_session("docker", settings=Settings(max_containers=_WIDTH)) as session:
        for _ in range(ground.rounds(20)):
            raw.append(_raw_abort(ground, boxes, function))
            ours.append(await _our_abort(ground, session, block))
    ground.remove(boxes)
    return Figure(
        name=name,
        sample=milliseconds(ours),
        floor_name="raw DELETE of the blocks, pause",
        floor=milliseconds(raw),
        promises=(p95_at_most(bound),),
    )


async def _our_abort(ground: Ground, session: Session, block: Block) -> float:
    running = 0
    with session.events(whole=True) as feed:
        execution = session.start(ground.plan(copies(block, _WIDTH)))
        async for envelope in feed:
            running += isinstance(envelope.event, BlockLog)
            if running == _WIDTH:
                break
    began = perf_counter()
    execution.abort()
    report = await execution.wait()
    spent = perf_counter() - began
    ends = [end.ended for end in report.receipt.containers]
    if report.status != "aborted" or len(ends) != _WIDTH or set(ends) - set(_GONE):
        raise RuntimeError(f"not settled: {report.status}, {ends}")
    for end in report.receipt.containers:
        if end.ended == "dormant":
            _check_paused(ground, end.name)
    return spent


def _raw_abort(ground: Ground, boxes: list[RawBox], function: str) -> float:
    def end(begun: tuple[RawBox, str]) -> None:
        box, run = begun
        box.end(run)
        box.pause()

    with ExitStack() as stack:
        begun = [stack.enter_context(box.running(python=function, given={"seconds": 60})) for box in boxes]
        for _, answer in begun:
            answer.readline()
        runs = [run for run, _ in begun]
        pairs = list(zip(boxes, runs, strict=True))
        spent = timed(lambda: ground.side_by_side(end, pairs))
    ground.side_by_side(RawBox.unpause, boxes)
    return spent
