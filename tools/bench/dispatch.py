"""What one block costs on a container that is awake: alone, and in a chain."""

import subprocess
from time import perf_counter

from bench.ground import NOTHING, Ground, copies, timed
from bench.spread import WARM
from bench.stats import Figure, median_at_most, milliseconds
from warmlane import Block, Session, Settings, WorkflowPlan, open_session

_TRUE = ["true"]
_COMMAND = Block(command=_TRUE)
_CHAIN = 50


async def measure(ground: Ground) -> list[Figure]:
    """A block alone: from the lease to its result, and the whole run of its plan."""
    ours: dict[str, list[float]] = {"python": [], "command": [], "run": []}
    raw: dict[str, list[float]] = {"python": [], "command": [], "health": [], "spawn": []}
    box = ground.raw.healthy(ground.container())
    python, command = ground.plan({"b": NOTHING}), ground.plan({"b": _COMMAND})
    async with open_session("docker", settings=Settings(max_containers=1, pause_grace=WARM)) as session:
        for plan in (python, command):
            await _run(session, plan)
        box.block(python=NOTHING.python)
        for _ in range(ground.rounds(200)):
            raw["python"].append(timed(lambda: box.block(python=NOTHING.python)))
            spent, whole = await _run(session, python)
            ours["python"].append(spent)
            ours["run"].append(whole)
            raw["command"].append(timed(lambda: box.block(command=_TRUE)))
            ours["command"].append((await _run(session, command))[0])
            raw["health"].append(timed(box.health))
            raw["spawn"].append(timed(lambda: subprocess.run(_TRUE, check=True)))
    ground.raw.remove(box)

    def figure(name: str, values: list[float], floor_name: str, floor: list[float], bound: float | None) -> Figure:
        promises = () if bound is None else (median_at_most(bound),)
        return Figure(
            name=name,
            sample=milliseconds(values),
            floor_name=floor_name,
            floor=milliseconds(floor),
            promises=promises,
        )

    return [
        figure("no-op python block, warm", ours["python"], "raw POST of the block", raw["python"], 10),
        figure("the same, whole run of its plan", ours["run"], "GET /health of the agent", raw["health"], None),
        figure("no-op command block, warm", ours["command"], "raw POST of the block", raw["command"], None),
        figure("raw POST of a command block", raw["command"], "a process on the host", raw["spawn"], None),
    ]


async def measure_chain(ground: Ground) -> list[Figure]:
    """Many blocks, one after the other, in one container."""
    ours: list[float] = []
    raw: list[float] = []
    blocks = copies(NOTHING, _CHAIN)
    plan = ground.plan(blocks, blocks, width=1)
    box = ground.raw.healthy(ground.container())
    async with open_session("docker", settings=Settings(max_containers=1)) as session:
        await _run(session, plan)
        for _ in range(ground.rounds(20)):
            raw.append(timed(*[lambda: box.execute(_TRUE)] * 5) / 5)
            ours.append((await _run(session, plan))[1] / _CHAIN)
    ground.raw.remove(box)
    return [
        Figure(
            name=f"chain of {_CHAIN} blocks, per block",
            sample=milliseconds(ours),
            floor_name="docker exec",
            floor=milliseconds(raw),
        )
    ]


async def _run(session: Session, plan: WorkflowPlan) -> tuple[float, float]:
    """Seconds that the first block took from its lease on, and that the whole run took."""
    began = perf_counter()
    report = await session.run(plan)
    whole = perf_counter() - began
    if report.failures:
        raise RuntimeError(f"a block failed: {report.failures}")
    return report.results[0].duration or 0.0, whole
