"""Opens and leaves sessions in one process, one after the other; nothing may be left, and memory may not grow.

Each session runs a small plan twice, so that containers are born, frozen, woken and removed. The memory of the process
is taken after each: about the tenth and about the last, its medians are compared.
"""

import argparse
import gc
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

import warmlane
from dockerd.api import Daemon
from images.recipes import WITH_PYTHON
from leaks import Holdings, leaks_since, mark_processes
from run_tests import docker_environment
from warmlane.plan.model import WorkflowPlan
from warmlane.runtimes.owner import owner_label

GROWTH = 0.05
"""At most this share may the memory grow after the tenth session."""
SETTLED = 10
WINDOW = 5
"""So many sessions have one median: an allocator takes and gives back memory by the piece."""
LEAST = SETTLED + 2 * WINDOW


def small_plan(runtime: str) -> WorkflowPlan:
    """Three blocks in two lanes."""
    container: dict[str, Any] = {"transport": "unix"}
    if runtime == "docker":
        container["image"] = WITH_PYTHON.tag
    return warmlane.read_plan(
        {
            "name": "small",
            "container": container,
            "blocks": {name: {"command": ["echo", name]} for name in ("a", "b", "c")},
            "lanes": [{"blocks": ["a", "b"]}, "c"],
        }
    )


async def live_sessions(runtime: str, count: int) -> list[str]:
    """So many sessions, at least LEAST; what broke, a sentence for each."""
    plan = small_plan(runtime)
    broken: list[str] = []
    sizes: list[int] = []
    for number in range(1, count + 1):
        async with warmlane.open_session(runtime) as session:
            for _ in range(2):
                report = await session.run(plan)
                if report.status != "completed":
                    broken.append(f"session {number}: {[result.error for result in report.results]}")
        sizes.append(memory())
    grown = growth(sizes)
    print(f"{count} sessions on {runtime}: {sizes[-1] / 2**20:.1f} MiB, {grown:+.1%} since the tenth", flush=True)
    if grown > GROWTH:
        told = ", ".join(f"{size / 2**20:.1f}" for size in sizes[SETTLED - 1 :: SETTLED])
        broken.append(f"the memory has grown by {grown:.1%} after the tenth session; each ten: {told} MiB")
    return broken


def growth(sizes: Sequence[float]) -> float:
    """The share by which the median of the last WINDOW is above that of the WINDOW about the tenth."""
    if len(sizes) < LEAST:
        raise ValueError(f"growth shows after {LEAST} sessions at the earliest")
    first = SETTLED - 1 - WINDOW // 2
    return statistics.median(sizes[-WINDOW:]) / statistics.median(sizes[first : first + WINDOW]) - 1


def memory() -> int:
    """The memory that this process alone has, in bytes."""
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    fields = [line.split() for line in lines if line.startswith("Private_")]
    return 1024 * sum(int(field[1]) for field in fields)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line may say."""
    parser.add_argument("--runtime", choices=["docker", "process"], default="process")
    parser.add_argument("--count", type=int, default=100, help=f"how many sessions, at least {LEAST} (100)")


def run(asked: argparse.Namespace) -> list[str]:
    """Live, and tell what broke or was left."""
    if asked.count < LEAST:
        sys.exit(f"warmlane: growth shows after {LEAST} sessions at the earliest; ask for more than {asked.count}")
    mark_processes()
    before = Holdings.now()
    if asked.runtime == "process":
        return trio.run(live_sessions, "process", asked.count) + leaks_since(before)
    with docker_environment() as environment:
        os.environ["DOCKER_HOST"] = environment["DOCKER_HOST"]
        broken = trio.run(live_sessions, "docker", asked.count) + leaks_since(before)
        # Of this process alone: what others have on that daemon comes and goes.
        there = Daemon(environment["DOCKER_HOST"]).containers(f"warmlane.owner={owner_label()}")
        return broken + [f"{container['Names']} is still there ({container['State']})" for container in there]
