"""A run on a real terminal: the picture is drawn there, and signals come from its keyboard."""

from __future__ import annotations

import os
import pty
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_control_c_on_a_terminal_ends_the_run_and_gives_the_cursor_back(
    start: Callable[..., Any], plan_file: Callable[..., Path]
) -> None:
    ours, its = pty.openpty()
    block = "import time; print('\\x1b[2Jbusy', flush=True); time.sleep(60)"
    try:
        program = start("run", plan_file({"b": {"command": ["python3", "-c", block]}}), "--runtime", "process", tty=its)
        os.close(its)
        seen = b""
        while b"b | \\x1b[2Jbusy" not in seen or "▶ b".encode() not in seen:
            seen += os.read(ours, 65536)
        os.write(ours, b"\x03")
        while piece := _read(ours):
            seen += piece
        code = program.process.wait()
    finally:
        os.close(ours)
    assert code == 3
    text = seen.decode()
    assert "SIGINT: ending the run" in text
    assert "trial aborted" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "\x1b[2J" not in text


def test_a_terminal_that_is_closed_ends_the_run(start: Callable[..., Any], plan_file: Callable[..., Path]) -> None:
    ours, its = pty.openpty()
    block = "import time; print('busy', flush=True); time.sleep(60)"
    try:
        program = start("run", plan_file({"b": {"command": ["python3", "-c", block]}}), "--runtime", "process", tty=its)
        os.close(its)
        seen = b""
        while b"b | busy" not in seen:
            seen += os.read(ours, 65536)
    finally:
        os.close(ours)
    assert program.process.wait() == 3


def _read(terminal: int) -> bytes:
    """What the terminal shows next; nothing when the last process on it has ended."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
