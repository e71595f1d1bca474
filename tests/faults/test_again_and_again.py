"""What must hold every time: births that are cancelled, sessions in a row. `tools/soak` has the long forms."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from dockerd.api import Daemon
from soaking.births import cancel_births
from soaking.sessions import growth

TOOLS = Path(__file__).resolve().parent.parent.parent / "tools"


@pytest.mark.docker
async def test_cancelled_births_leave_nothing(
    docker_url: str, no_container_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_url)
    seed = random.randrange(2**32)
    rounds = [await cancel_births(Daemon(docker_url), 60, seed + number) for number in range(4)]
    assert [found for found in rounds if found.broken] == []
    assert sum(found.cut for found in rounds) > 0, "none was cut"
    assert sum(found.born for found in rounds) > 2 * 60


def test_sessions_in_a_row_leave_nothing_and_do_not_grow() -> None:
    live("process", 100)


@pytest.mark.docker
def test_nor_on_docker(docker_url: str, no_container_left: None) -> None:
    live("docker", 60, DOCKER_HOST=docker_url)


def live(runtime: str, count: int, **environment: str) -> None:
    """In a process of their own: in this one, what 3000 tests have left to the allocator hides what a session adds."""
    words = [sys.executable, "-P", "-m", "soaking", "sessions", "--runtime", runtime, "--count", str(count)]
    done = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": str(TOOLS), **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{count} sessions on {runtime}" in done.stdout


@pytest.mark.parametrize(
    ("sizes", "grown"),
    [
        ([100.0] * 30, 0.0),
        ([200.0] * 7 + [100.0] * 23, 0.0),
        ([100.0] * 28 + [300.0, 300.0], 0.0),
        ([float(100 + number) for number in range(1, 101)], 0.8),
    ],
    ids=["steady", "still warming up", "a spike at the end", "a leak"],
)
def test_growth_is_what_lasts(sizes: list[float], grown: float) -> None:
    assert growth(sizes) == pytest.approx(grown)


def test_growth_cannot_be_told_of_a_few() -> None:
    with pytest.raises(ValueError, match="after 20 sessions"):
        growth([100.0] * 19)
