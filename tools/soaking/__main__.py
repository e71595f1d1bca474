"""`tools/soak simulate`: any number of simulated sessions. The parts on real containers and processes (`kills` and so
on) are modules of their own.

Each says what it found, and the exit code is 0 only if no promise was broken.
"""

import argparse
import sys
import time
from typing import Any

from signals import ended_by_signals, interruptible
from soaking import births, kills, sessions
from warmlane.simulation import Played, Summary, simulate_seed
from with_docker import FAULTS

PARTS: dict[str, Any] = {"kills": kills, "births": births, "sessions": sessions}
EVERY = 1000
"""After so many seeds there is a line that says how it goes."""


def simulate(first: int, number: int) -> int:
    """Plays these seeds; each that breaks a promise is told at once, with all that went wrong in it."""
    summary, began = Summary(), time.monotonic()
    for seed in range(first, first + number):
        played = simulate_seed(seed)
        summary.add(played)
        if played.broken:
            tell(played)
        if summary.seeds % EVERY == 0 or summary.seeds == number:
            rate = summary.seeds / (time.monotonic() - began)
            print(
                f"{summary.seeds} seeds, {summary.lives} lives, {summary.faults} faults, "
                f"{len(summary.broken)} broken; {rate:.0f} seeds/s",
                flush=True,
            )
    return 1 if summary.broken else 0


def tell(played: Played) -> None:
    """What a seed broke, and how it came to that."""
    print(f"seed {played.seed} (replay it with tools/soak simulate --seed {played.seed} --seeds 1):")
    print(*(f"  {line}" for line in (*played.broken, "what had gone wrong:", *played.story)), sep="\n", flush=True)


def prove(asked: argparse.Namespace) -> int:
    """Runs a part on real containers or processes, and says what broke."""
    try:
        with ended_by_signals(), interruptible():
            broken: list[str] = asked.run(asked)
    except FAULTS as error:
        sys.exit(f"warmlane: {error}")
    print(*(broken or ["nothing was left"]), sep="\n", flush=True)
    return 1 if broken else 0


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tools/soak", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    simulating = commands.add_parser("simulate", help="play simulated sessions")
    simulating.add_argument("--seeds", type=int, default=20_000, help="how many (default: 20000)")
    simulating.add_argument("--seed", type=int, default=0, help="the first (default: 0)")
    for name, part in PARTS.items():
        about = (part.__doc__ or "").strip()
        command = commands.add_parser(name, help=about.splitlines()[0], description=about)
        part.add_arguments(command)
        command.set_defaults(run=part.run)
    ours = parser.parse_args()
    sys.exit(simulate(ours.seed, ours.seeds) if ours.command == "simulate" else prove(ours))


if __name__ == "__main__":
    main()
