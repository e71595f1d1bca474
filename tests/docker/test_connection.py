"""The way to the daemon: over TCP, and when it breaks."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from warmlane.errors import RuntimeSilentError
from warmlane.runtimes import Choice, choose_runtime

pytestmark = pytest.mark.docker


async def test_auto_is_docker(docker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_url)
    assert await choose_runtime("auto") == Choice("docker")


async def test_a_whole_life_over_tcp(distant_bench: Any) -> None:
    async with distant_bench.born() as name:
        await distant_bench.runtime.pause(name)
        await distant_bench.runtime.unpause(name)
        assert (await distant_bench.python(name, "print('hello')"))[1] == ["hello"]


async def test_the_watch_comes_back_and_says_so(distant_bench: Any, detour: Any, client: Any) -> None:
    """What happened meanwhile is seen after all: the daemon remembers."""
    with trio.fail_after(30):
        async with distant_bench.runtime.watch() as sightings, distant_bench.born() as name:
            client.pause(name)
            assert (await anext(sightings)).kind == "paused"
            detour.cut()
            client.unpause(name)
            detour.reachable = True
            seen = [(await anext(sightings)).kind]
            while seen[-1] != "unpaused":
                seen.append((await anext(sightings)).kind)
    assert seen[0] == "resync"


async def test_a_connection_that_breaks_is_silence_and_the_next_call_works(distant_bench: Any, detour: Any) -> None:
    runtime = distant_bench.runtime
    assert not await runtime.alive("wl-nobody")
    detour.cut()
    with pytest.raises(RuntimeSilentError):
        await runtime.alive("wl-nobody")
    detour.reachable = True
    assert not await runtime.alive("wl-nobody")
