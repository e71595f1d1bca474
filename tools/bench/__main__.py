"""The command line of the benchmark: measures, prints JSON or a table, and exits with 1 if a promise is not kept.

Works on the daemon that DOCKER_HOST names (or the default one); if none answers, on a private one that is gone
afterwards.
"""

import argparse
import json
import os
import signal
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import trio

from bench.conditions import conditions, load
from bench.ground import Ground
from bench.measures import MEASURES, Measure
from bench.raw import raw_host
from bench.stats import Figure, Sample, count_at_most
from bench.table import broken, table
from dockerd.api import Daemon
from images.recipes import WITH_PYTHON
from leaks import Holdings, leaks_since, mark_processes
from run_tests import docker_environment
from signals import ended_by_signals, interruptible
from with_docker import FAULTS, say

_THREADS = 50  # raw calls side by side: the widest lane


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(prog="tools/bench/run", description="Measure what Warmlane promises.")
    parser.add_argument("--quick", action="store_true", help="few rounds; only ratios and what is left must hold")
    parser.add_argument("--only", action="append", choices=sorted(MEASURES), help="only this; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON to FILE")
    asked = parser.parse_args()
    try:
        with ended_by_signals(), docker_environment() as environment, interruptible():
            document = _measure(environment["DOCKER_HOST"], asked.only or list(MEASURES), quick=asked.quick)
    except FAULTS as error:
        sys.exit(f"warmlane: {error}")
    if asked.json:
        asked.json.write_text(json.dumps(document, indent=2) + "\n")
    print(table(document))
    if document["failed"]:
        sys.exit(f"warmlane: could not be measured: {', '.join(document['failed'])}")
    if not_kept := broken(document, quick=asked.quick):
        sys.exit("warmlane: not kept:\n" + "\n".join(f"  {what}" for what in not_kept))


def _measure(url: str, names: list[str], *, quick: bool) -> dict[str, Any]:
    os.environ["DOCKER_HOST"] = url
    mark_processes()
    daemon = Daemon(url)
    before = Holdings.now(daemon)
    figures: list[Figure] = []
    failed: list[str] = []
    with raw_host(url) as raw, ThreadPoolExecutor(_THREADS) as threads:
        about = conditions(raw.docker)
        ground = Ground(raw=raw, threads=threads, image=WITH_PYTHON.tag, quick=quick)
        for name in names:
            say(f"measuring {name}")
            try:
                figures += trio.run(_ended_by_signals, MEASURES[name], ground)
            except Exception:  # noqa: BLE001 - the other measures are still worth having
                traceback.print_exc()
                failed.append(name)
    left = leaks_since(before, daemon)
    for what in left:
        say(f"left behind: {what}")
    figures.append(Figure(name="left behind", unit="things", sample=Sample([len(left)]), promises=(count_at_most(0),)))
    about["loadAfter"] = load()
    return {"conditions": about, "figures": [figure.document() for figure in figures], "failed": failed}


async def _ended_by_signals(measure: Measure, ground: Ground) -> list[Figure]:
    """Measures; a signal that asks us to end cancels it, and then raises SystemExit."""
    figures: list[Figure] = []
    told: list[int] = []

    async def listen() -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            async for number in signals:
                told.append(number)
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        figures = await measure(ground)
        nursery.cancel_scope.cancel()
    if told:
        raise SystemExit(128 + told[0])
    return figures


if __name__ == "__main__":
    main()
