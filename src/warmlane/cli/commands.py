"""The commands and their arguments. Each imports what it needs when it runs; none of them does work here.

A command returns its exit code. Errors leave as they are: `__main__` makes sentences and codes of them.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from warmlane._version import __version__
from warmlane.cli.options import Address, AtLeast, MonitorUrl, Ports
from warmlane.cli.stdout import StdoutError

_RUNTIMES = click.Choice(["auto", "docker", "process"])
_plan_argument = click.argument("plan", type=click.Path(path_type=Path))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="warmlane", message="%(prog)s %(version)s")
def cli() -> None:
    """Run the blocks of a workflow side by side, in containers that are already warm.

    Exit codes: 0 completed, 1 failed, 2 bad plan or usage, 3 aborted, 5 no runtime, 70 a bug in Warmlane.
    """


@cli.command()
@_plan_argument
@click.option("--input", "inputs", multiple=True, metavar="NAME=VALUE", help="A value for one of the plan's inputs.")
@click.option(
    "--runtime",
    type=_RUNTIMES,
    default="auto",
    show_default=True,
    help="Where containers live. 'auto' takes Docker if it answers, else local processes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all events as JSON, one a line, and nothing else.")
@click.option("--monitor", type=Address(), metavar="HOST:PORT", help="Let monitors watch the run at this address.")
@click.option("--repeat", type=AtLeast(1), default=1, metavar="N", help="Run N times on one pool.")
@click.option("--ports", type=Ports(), metavar="FIRST-LAST", help="Local ports for containers.  [default: 9100-9199]")
def run(
    plan: Path,
    inputs: tuple[str, ...],
    runtime: str,
    as_json: bool,
    monitor: tuple[str, int] | None,
    repeat: int,
    ports: range | None,
) -> int:
    """Run a plan, and show what happens.

    PLAN is a JSON, YAML or TOML file.

    Ctrl-C (or SIGTERM) ends the blocks that run and removes every container; a second one does it without grace.
    """
    from warmlane.plan.inputs import bind_words
    from warmlane.plan.read import load_plan
    from warmlane.settings import Settings

    document = load_plan(plan)
    values = bind_words(document, inputs)
    settings = Settings(max_containers=document.max_containers, ports=ports or Settings().ports)

    from warmlane.cli.run import Order, run_order  # later than the plan, for a bad one needs none of it

    return run_order(
        Order(
            plan=document,
            source=str(plan),
            inputs=values,
            runtime=runtime,
            settings=settings,
            as_json=as_json,
            monitor=monitor,
            repeat=repeat,
        )
    )


@cli.command()
@_plan_argument
def validate(plan: Path) -> int:
    """Check a plan, and print every problem that it has."""
    from warmlane.cli.exits import COMPLETED, USAGE
    from warmlane.errors import PlanError
    from warmlane.monitor.plain import number_of
    from warmlane.plan.read import load_plan

    try:
        document = load_plan(plan)
    except PlanError as error:
        say("\n".join(f"{plan}: {problem}" for problem in error.problems))
        return USAGE
    say(f"{plan}: ok, {number_of(len(document.lanes), 'lane')}, {number_of(len(document.blocks), 'block')}")
    return COMPLETED


@cli.command()
@_plan_argument
@click.option("--input", "inputs", multiple=True, metavar="NAME=VALUE", help="A value for one of the plan's inputs.")
@click.option("--seeds", type=AtLeast(1), default=200, show_default=True, metavar="N", help="Play N sessions.")
@click.option("--seed", type=AtLeast(0), default=0, show_default=True, metavar="S", help="The first seed.")
def simulate(plan: Path, inputs: tuple[str, ...], seeds: int, seed: int) -> int:
    """Play the PLAN on a simulated host that fails, hangs and lies, and count what could become of it.

    Nothing is executed: blocks take random times, and some fail. '--seed S --seeds 1' replays one session, and tells
    all that went wrong in it. Exit code 1 says that a promise was broken.
    """
    from warmlane.plan.inputs import bind_words
    from warmlane.plan.read import load_plan

    document = load_plan(plan)
    values = bind_words(document, inputs)

    from warmlane.cli.simulate import simulate_plan  # later than the plan, for a bad one needs none of it

    return simulate_plan(document, values, first=seed, number=seeds, say=say)


@cli.command()
def schema() -> int:
    """Print the JSON Schema of plans."""
    from warmlane.cli.exits import COMPLETED
    from warmlane.plan.schema import plan_schema

    say(json.dumps(plan_schema(), indent=2))
    return COMPLETED


@cli.command()
@click.option(
    "--runtime",
    type=_RUNTIMES,
    default="auto",
    show_default=True,
    help="Where to look. 'auto' looks at local processes and, if it answers, at Docker.",
)
def gc(runtime: str) -> int:
    """Remove what killed sessions have left, nothing of a live one."""
    from warmlane.cli.gc import collect

    return collect(runtime, say)


@cli.command()
@click.argument("url", type=MonitorUrl())
def monitor(url: str) -> int:
    """Watch a run from another terminal, at ws://HOST:PORT/ws."""
    import trio
    from rich.console import Console

    from warmlane.monitor.live import run_view

    return trio.run(run_view, url, Console())


def say(text: str) -> None:
    """Prints lines to stdout. That their reader has gone (`| head`) does not change what the command has found."""
    from warmlane.terminal import visible_lines

    try:
        click.echo("\n".join(visible_lines(text)))
    except StdoutError as error:
        if not error.gone:
            raise
