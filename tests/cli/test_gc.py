"""`warmlane gc`, beside a session that lives and after one that was killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_what_a_killed_session_left_is_removed_and_nothing_of_a_live_one(
    start: Callable[..., Any], plan_file: Callable[..., Path], tmp_path: Path, home: Path
) -> None:
    go = tmp_path / "go"
    wait = f"import os, time\nprint('busy', flush=True)\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)"
    plan = plan_file({"wait": {"command": ["python3", "-c", wait]}})
    dead, live = (start("run", plan, "--runtime", "process") for _ in range(2))
    dead.line("busy")
    live.line("busy")
    dead.signal(signal.SIGSTOP)  # so that it does not replace its reaper, which would leave nothing for us
    for reaper in reapers_of(dead.process.pid):
        os.kill(reaper, signal.SIGKILL)
    dead.signal(signal.SIGKILL)
    dead.process.wait()

    code, out, err = start("gc", "--runtime", "process").end()
    assert (code, err) == (0, "")
    assert "1 kept" in out
    assert len(list(home.glob("warmlane/*/"))) == 1

    go.touch()
    code, out, _ = live.end()
    assert code == 0
    assert "trial completed" in out


def reapers_of(pid: int) -> list[int]:
    """The processes that would clean up after this one."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = [int(child) for child in children if b"warmlane.reaper" in Path(f"/proc/{child}/cmdline").read_bytes()]
    assert found
    return found


def test_without_docker_gc_looks_at_what_there_is(start: Callable[..., Any]) -> None:
    code, out, err = start("gc").end()
    assert (code, err) == (0, "")
    assert [line.partition(": ")[0] for line in out.splitlines()] == ["docker", "process"]
    assert "not looked at" in out


def test_asked_for_docker_alone_it_ends_with_5(start: Callable[..., Any]) -> None:
    code, out, err = start("gc", "--runtime", "docker").end()
    assert (code, out) == (5, "")
    assert err.startswith("warmlane: runtime 'docker' is not available: ")
