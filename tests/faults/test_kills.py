"""Engines that are killed at random moments leave nothing: 200 of them, half on Docker; more by `tools/soak kills`."""

from __future__ import annotations

import random

import pytest

from dockerd.api import Daemon
from soaking.kills import Killing, kill_engines

COUNT, AT_ONCE = 100, 25


async def test_local_processes() -> None:
    seed = random.randrange(2**32)
    assert await kill_engines(Killing("process", COUNT, AT_ONCE, seed)) == [], f"seed {seed}"


@pytest.mark.docker
async def test_containers(docker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_url)
    seed = random.randrange(2**32)
    assert await kill_engines(Killing("docker", COUNT, AT_ONCE, seed, Daemon(docker_url))) == [], f"seed {seed}"
