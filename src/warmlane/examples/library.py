"""Warmlane as a library: a plan of Python objects, run twice in one session.

    python -m warmlane.examples.library [FOLDER]

Blocks side by side digest the files of a folder (default: this package), the last one adds up. The second run finds the
containers of the first: see how its blocks were started.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

import warmlane
from warmlane import Block, Container, ParallelLane, WorkflowPlan, Workspace

SHARES = 4

DIGEST = """
import hashlib, json, os, pathlib
given = json.load(open(os.environ["WARMLANE_INPUT"]))
files = sorted(path for path in pathlib.Path(os.environ["WARMLANE_WORKSPACE"]).rglob("*") if path.is_file())
mine = files[given["share"] :: given["shares"]]
digests = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in mine}
json.dump(digests, open(os.environ["WARMLANE_OUTPUT"], "w"))
"""

TOTAL = """
import hashlib, json, os
shares = json.load(open(os.environ["WARMLANE_INPUT"]))
digests = sorted(digest for share in shares.values() for digest in share.values())
whole = hashlib.sha256("".join(digests).encode()).hexdigest()
json.dump({"files": len(digests), "sha256": whole}, open(os.environ["WARMLANE_OUTPUT"], "w"))
"""


def plan_for(folder: Path) -> WorkflowPlan:
    """Four blocks with a quarter of the files each, and one that makes one number of theirs."""
    digests = {
        f"digest{share}": Block(command=("python3", "-c", DIGEST), input={"share": share, "shares": SHARES})
        for share in range(SHARES)
    }
    return WorkflowPlan(
        name="digest-folder",
        container=Container(image="python:3.12-slim", workspace=Workspace(path=str(folder)), transport="unix"),
        blocks={**digests, "total": Block(command=("python3", "-c", TOTAL))},
        lanes=(ParallelLane(blocks=tuple(digests)), "total"),
    )


async def main(folder: Path) -> None:
    """Runs the plan twice, and prints what came out and how each block was started."""
    plan = plan_for(folder)
    async with warmlane.open_session() as session:
        for turn in ("first", "second"):
            report = await session.run(plan)
            starts = ", ".join(f"{result.block_id} {result.start.cause}" for result in report.results if result.start)
            print(f"{turn} run on {session.runtime}: {report.status} in {report.duration * 1000:.0f} ms ({starts})")
            print(f"  {report.results[-1].output}")


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve().parent)
