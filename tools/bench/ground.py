"""What all measures stand on: the daemon, the image, how many rounds, and a few ways to wait."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from attrs import field, frozen

from bench.raw import RawBox, RawHost
from warmlane import ParallelLane, Session
from warmlane.events import PoolStatus
from warmlane.plan.model import Block, Container, WorkflowPlan, Workspace

T = TypeVar("T")
R = TypeVar("R")

BLOCKS = Path(__file__).resolve().parent / "blocks"
NOTHING = Block(python="bench_blocks:nothing")
SETTLING = 0.02
"""Seconds between a measured pause and its opposite: sooner, the daemon sometimes refuses, which nobody would do."""


@frozen(kw_only=True)
class Ground:
    """One run of the benchmark. `raw` is the way around the engine, `threads` for raw calls side by side."""

    raw: RawHost
    threads: ThreadPoolExecutor = field(repr=False)
    image: str
    quick: bool

    def rounds(self, full: int, *, quick: int = 3) -> int:
        """How often: `full`; with --quick a tenth of it, and at least `quick`."""
        return max(quick, full // 10) if self.quick else full

    def container(self, transport: str = "unix") -> Container:
        """What everything here runs in."""
        return Container(image=self.image, transport=transport, workspace=Workspace(path=str(BLOCKS)))  # type: ignore[arg-type]  # one of two words

    def plan(
        self, blocks: Mapping[str, Block], lanes: Iterable[Any] | None = None, *, width: int | None = None, **more: Any
    ) -> WorkflowPlan:
        """A plan; without lanes, all blocks are in one."""
        return WorkflowPlan(
            name="bench",
            blocks=blocks,
            lanes=tuple(lanes) if lanes is not None else (lane(blocks),),
            container=self.container(),
            max_containers=width or len(blocks),
            **more,
        )

    def boxes(self, number: int) -> list[RawBox]:
        """Raw containers that are up and well."""
        return self.side_by_side(lambda _: self.raw.healthy(self.container()), range(number))

    def remove(self, boxes: Iterable[RawBox]) -> None:
        """Removes raw containers for good."""
        self.side_by_side(self.raw.remove, boxes)

    def side_by_side(self, call: Callable[[T], R], each: Iterable[T]) -> list[R]:
        """Makes a blocking call for each at the same time, in threads that are there already; the values."""
        return list(self.threads.map(call, each))


def lane(blocks: Iterable[str]) -> ParallelLane:
    """All of them at once."""
    return ParallelLane(blocks=list(blocks))


def copies(block: Block, number: int) -> dict[str, Block]:
    """So many blocks that all do the same."""
    return {f"b{index}": block for index in range(number)}


def timed(*calls: Callable[[], object]) -> float:
    """How many seconds blocking calls take, one after the other."""
    began = perf_counter()
    for call in calls:
        call()
    return perf_counter() - began


async def until_pool(session: Session, done: Callable[[PoolStatus], bool]) -> None:
    """Waits until the pool is so."""
    with session.events() as feed:
        if done(session.pool_status()):
            return
        async for envelope in feed:
            if isinstance(envelope.event, PoolStatus) and done(envelope.event):
                return


def all_in(phase: str, number: int) -> Callable[[PoolStatus], bool]:
    """Whether there are just so many containers, all in this phase."""
    return lambda status: len(status.containers) == number and {box.phase for box in status.containers} == {phase}
