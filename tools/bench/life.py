"""A container's life without blocks: cold start, pause, wake, removal, each by the pool and by the raw API in turn."""

from collections import defaultdict
from time import perf_counter, sleep

import trio

from bench.ground import SETTLING, Ground, timed
from bench.stats import (
    Figure,
    Promise,
    Sample,
    milliseconds,
    p95_at_most,
    ratio_at_most,
    share_at_most,
)
from warmlane.bus import Bus
from warmlane.plan.model import Container
from warmlane.pool import Lease, Pool, open_pool
from warmlane.runtimes import open_runtime
from warmlane.runtimes.owner import owner_label
from warmlane.settings import Settings

_WAKES = 4  # in each life
Times = defaultdict[str, list[float]]


async def measure_unix(ground: Ground) -> list[Figure]:
    """Without network."""
    return await _measure(ground, "unix")


async def measure_tcp(ground: Ground) -> list[Figure]:
    """With a port published on 127.0.0.1."""
    return await _measure(ground, "tcp")


async def _measure(ground: Ground, transport: str) -> list[Figure]:
    container = ground.container(transport)
    ours: Times = defaultdict(list)
    raw: Times = defaultdict(list)
    owner, session_id = owner_label(), f"bench{transport}"
    async with (
        open_runtime("docker", session_id=session_id, owner=owner) as runtime,
        open_pool(runtime, Bus(), Settings(), session_id=session_id, owner=owner) as pool,
    ):
        for _ in range(ground.rounds(30, quick=8)):  # its ratios are promises
            _raw_life(ground, container, raw)
            await _our_life(pool, container, ours)
    cold = milliseconds(ours["cold"])

    def figure(name: str, what: str, floor: str, *promises: Promise) -> Figure:
        return Figure(
            name=f"{name}, {transport}",
            sample=milliseconds(ours[what]),
            floor_name=floor,
            floor=milliseconds(raw[what]),
            promises=promises,
        )

    return [
        figure("cold start to healthy", "cold", "raw create, start, health", ratio_at_most(1.25)),
        figure("pause", "pause", "raw pause"),
        figure("wake to healthy", "wake", "raw unpause, health", *_wake_promises(cold)),
        figure("removal", "remove", "raw remove"),
    ]


def _wake_promises(cold: Sample) -> tuple[Promise, ...]:
    return ratio_at_most(2), p95_at_most(100), share_at_most(0.3, "cold", cold)


def _raw_life(ground: Ground, container: Container, times: Times) -> None:
    box = ground.raw.box(container)
    times["cold"].append(timed(box.create, box.wait_healthy))
    for _ in range(_WAKES):
        times["pause"].append(timed(box.pause))
        sleep(SETTLING)
        times["wake"].append(timed(box.unpause, box.wait_healthy))
        sleep(SETTLING)
    times["remove"].append(timed(lambda: ground.raw.remove(box)))


async def _our_life(pool: Pool, container: Container, times: Times) -> None:
    async def acquire(what: str) -> Lease:
        began = perf_counter()
        lease = await pool.acquire(container, block_id="bench", execution_id="bench", dormancy_timeout=300)
        times[what].append(perf_counter() - began)
        return lease

    async def settle(what: str, name: str, began: float) -> None:
        await pool.settled([name])
        times[what].append(perf_counter() - began)

    lease = await acquire("cold")
    for _ in range(_WAKES):
        began = perf_counter()
        pool.release(lease, at_once=True)
        await settle("pause", lease.name, began)
        await trio.sleep(SETTLING)
        lease = await acquire("wake")
        await trio.sleep(SETTLING)
    began = perf_counter()
    pool.condemn(lease, "measured")
    await settle("remove", lease.name, began)
