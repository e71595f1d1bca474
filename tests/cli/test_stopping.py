"""A run that is ended from outside: by signals, and by a stdout that nobody reads."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "print('busy', flush=True)\n"
    "while True: time.sleep(60)"
)
CHATTY = "while True: print('-' * 1000)"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_whose_block_ignores_it(
    start: Callable[..., Any], plan_file: Callable[..., Path], number: signal.Signals
) -> None:
    plan = plan_file(
        {"stubborn": {"command": ["python3", "-c", STUBBORN]}, "never": {"command": ["true"]}},
        lanes=["stubborn", "never"],
    )
    program = start("run", plan, "--runtime", "process")
    program.line("busy")
    program.signal(number)
    code, out, err = program.end()
    assert code == 3
    (notice,) = err.splitlines()
    assert notice.startswith(f"warmlane: {number.name}: ")
    assert "trial aborted" in out
    assert "aborted" in next(line for line in out.splitlines() if line.startswith("  stubborn"))
    assert "  never     skipped" in out
    (left,) = [line for line in out.splitlines() if line.startswith("  container ")]
    assert re.fullmatch(r"  container \S+: (dormant|removed) at \d\d:\d\d:\d\d\.\d{3} UTC", left)


def test_an_interrupt_that_was_ignored_when_we_began_stays_so(
    start: Callable[..., Any], plan_file: Callable[..., Path]
) -> None:
    plan = plan_file(
        {"short": {"command": ["python3", "-c", "print('busy', flush=True); import time; time.sleep(0.5)"]}}
    )
    program = start("run", plan, "--runtime", "process", ignoring="INT,HUP")
    program.line("busy")
    program.signal(signal.SIGINT)
    program.signal(signal.SIGHUP)
    code, out, err = program.end()
    assert (code, err) == (0, "")
    assert "trial completed" in out


def test_a_second_signal_hurries(start: Callable[..., Any], plan_file: Callable[..., Path]) -> None:
    program = start("run", plan_file({"stubborn": {"command": ["python3", "-c", STUBBORN]}}), "--runtime", "process")
    program.line("busy")
    program.signal(signal.SIGINT)
    program.line("once more", program.err)
    program.signal(signal.SIGINT)
    code, out, err = program.end()
    assert code == 3
    assert "killing" in err
    assert "trial aborted" in out


def test_a_reader_that_leaves_ends_the_run_quietly(start: Callable[..., Any], plan_file: Callable[..., Path]) -> None:
    program = start("run", plan_file({"chatty": {"command": ["python3", "-c", CHATTY]}}), "--runtime", "process")
    program.line("chatty | -")
    program.out.close()
    program.process.stdout = None
    code, _, err = program.end()
    assert (code, err) == (3, "")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_full_pipe_holds_up_no_signal(
    start: Callable[..., Any], plan_file: Callable[..., Path], options: list[str]
) -> None:
    read, write = os.pipe()
    plan = plan_file({"chatty": {"command": ["python3", "-c", CHATTY]}})
    program = start("run", plan, "--runtime", "process", "--monitor", "127.0.0.1:0", *options, stdout=write)
    os.close(write)
    with os.fdopen(read, "rb") as out:
        out.read(200_000)
        program.signal(signal.SIGTERM)
        program.line("SIGTERM", program.err)
        program.signal(signal.SIGTERM)
        code, _, err = program.end()
    assert code == 3
    assert "Traceback" not in err


def test_a_stdout_without_space_ends_the_run_with_a_sentence(
    start: Callable[..., Any], plan_file: Callable[..., Path]
) -> None:
    with open("/dev/full", "wb") as full:
        plan = plan_file({"chatty": {"command": ["python3", "-c", CHATTY]}})
        code, _, err = start("run", plan, "--runtime", "process", stdout=full.fileno()).end()
    assert code == 1
    assert err == "warmlane: cannot write to stdout: No space left on device\n"
