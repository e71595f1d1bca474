"""What the README shows is what happens: its commands, its plan and its program are run, on local processes."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from warmlane.cli.commands import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUN, OUTCOMES = (f"./tools/warmlane run src/warmlane/examples/{name}" for name in ("check.yaml", "outcomes.json"))
LIBRARY = ".venv/bin/python -m warmlane.examples.library"

EXITS = {RUN: 0, OUTCOMES: 1, f"{RUN} --input longest=150 --repeat 2": 0, "warmlane gc": 0, LIBRARY: 0}
"""Commands that are run as they stand, with the exit codes that they are to have."""
WATCHED = f"{RUN} --repeat 20 --monitor 127.0.0.1:8040"
MONITOR = "./tools/warmlane monitor ws://127.0.0.1:8040/ws"
ELSEWHERE = {
    "git clone <this repository> && cd <its folder>",
    f"{RUN} --runtime docker",
    "docker ps -a --filter label=warmlane.session",
    "tools/soak kills --runtime docker --count 1000",
    "tools/soak births",
    "tools/soak sessions --count 100",
    "./tools/test",
    "./tools/test --docker",
}
"""Commands that need Docker or take long, and have tests of their own."""

Run = Callable[..., subprocess.CompletedProcess[str]]


def blocks(language: str) -> list[str]:
    """The README's blocks of code in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def run(home: Path) -> Run:
    """Runs a command of the README where there is no Docker."""

    def run(command: list[str], folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(home), "DOCKER_HOST": f"unix://{home}/no-docker.sock"}
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the README's plan in it, and something to look at."""
    (plan,) = blocks("yaml")
    name = plan.partition("\n")[0].removeprefix("# ")
    (tmp_path / name).write_text(plan, encoding="utf-8")
    (tmp_path / "one.py").write_text("one = 1\n", encoding="utf-8")
    return tmp_path


def arguments(command: str) -> list[str]:
    """What a shell would start, with this very Python."""
    program, *rest = shlex.split(command)
    return [sys.executable, *rest] if program.endswith("python") else [sys.executable, "-m", "warmlane", *rest]


def test_every_command_is_known_here() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    shown = {line.partition("  #")[0].strip() for line in lines}
    assert f"`{LIBRARY}`" in README
    assert shown == ({*EXITS, WATCHED, MONITOR} | ELSEWHERE) - {LIBRARY}


@pytest.mark.parametrize("command", EXITS)
def test_a_command_does_what_is_said(command: str, run: Run) -> None:
    done = run(arguments(command))
    assert done.returncode == EXITS[command], done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_plan_prints_what_is_shown(run: Run, folder: Path) -> None:
    (shown,) = blocks("console")
    command, *lines = shown.splitlines()
    done = run(arguments(command.removeprefix("$ ").replace("docker", "process")), folder)
    assert done.returncode == 0, done.stderr
    pattern = "".join(map(pattern_of, lines))
    assert re.fullmatch(pattern, done.stdout), f"{pattern}\n{done.stdout}"


def pattern_of(line: str) -> str:
    """What a shown line stands for: any number and any way to find a container; `...` for anything."""
    if line == "...":
        return r"(.*\n)*"
    if re.match(r"  \d of", line):
        return r"  \d of 4 blocks found a container ready.*\n"
    words = re.sub(r"(cold start after|ready|still warm)", "...", line)
    return re.sub(r"\d+", r"\\d+", re.escape(words)).replace(r"\.\.\.", ".*").replace(r"\ ", " +") + ".*\n"


def test_the_program_runs(run: Run, folder: Path) -> None:
    (program,) = blocks("python")
    done = run([sys.executable, "-c", program], folder)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    for line in (first, second):
        assert line.startswith("completed {'fetch': None, 'syntax': None, 'count': 1, 'report': None} [Start(cause='")
    assert "cause='cold'" in first


def test_a_run_is_watched(start: Callable[..., Any]) -> None:
    program = arguments(WATCHED.replace("8040", "0"))[3:]
    watched = start(*[str(ROOT / word) if word.endswith(".yaml") else word for word in program])
    url = watched.line("watch this run with", watched.err).split("'")[1].split()[-1]
    port = url.split(":")[2].partition("/")[0]
    monitor = start(*arguments(MONITOR.replace("8040", port))[3:])
    monitor.line("watching session")
    watched.signal(signal.SIGINT)
    assert watched.end()[0] == 3
    code, out, _ = monitor.end()
    assert code == 0
    assert out.endswith("the session has ended\n")


def test_every_command_and_option_is_in_the_table() -> None:
    table = README.partition("## The command line")[2].partition("| exit code")[0]
    assert set(re.findall(r"^\| `warmlane (\w+)", table, re.MULTILINE)) == set(cli.commands)
    options = {
        option for param in cli.commands["run"].params for option in param.opts if isinstance(param, click.Option)
    }
    assert set(re.findall(r"^\| `… (--[a-z]+)", table, re.MULTILINE)) == options
