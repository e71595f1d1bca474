"""What must hold every time: births that are cancelled, sessions in a row. `tools/soak` has the long forms."""

from __future__ import annotations

import random

import pytest

from dockerd.api import Daemon
from soaking.births import cancel_births
from soaking.sessions import live_sessions


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


async def test_sessions_in_a_row_leave_nothing_and_do_not_grow() -> None:
    assert await live_sessions("process", 30) == []


@pytest.mark.docker
async def test_nor_on_docker(docker_url: str, no_container_left: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_url)
    assert await live_sessions("docker", 12) == []
