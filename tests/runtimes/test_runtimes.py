"""Which runtime is opened, and what is loaded for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from warmlane import runtimes
from warmlane.errors import RuntimeUnavailableError
from warmlane.runtimes import Choice, choose_runtime, open_runtime


async def test_auto_is_docker_where_a_daemon_answers(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(exchange: Any) -> None:
        await exchange.answer(200, {"ApiVersion": "1.41", "MinAPIVersion": "1.12"})

    daemon.script = script
    monkeypatch.setenv("DOCKER_HOST", daemon.address.text)
    assert await choose_runtime("auto") == Choice("docker")


async def test_auto_is_process_elsewhere_and_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    choice = await choose_runtime("auto")
    assert choice.kind == "process"
    assert choice.notice is not None
    assert "without containers: nothing answers at unix://" in choice.notice


async def test_auto_does_not_wait_long_for_a_silent_daemon(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(_exchange: Any) -> None:
        await trio.sleep_forever()

    daemon.script = script
    monkeypatch.setenv("DOCKER_HOST", daemon.address.text)
    monkeypatch.setattr(runtimes, "_PING", 0.05)
    choice = await choose_runtime("auto")
    assert choice.kind == "process"
    assert "did not answer" in str(choice.notice)


@pytest.mark.parametrize("kind", ["docker", "process"])
async def test_what_is_asked_for_by_name_is_taken_without_asking(kind: str) -> None:
    assert await choose_runtime(kind) == Choice(kind)


async def test_docker_that_is_asked_for_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(RuntimeUnavailableError, match="runtime 'docker' is not available: nothing answers"):
        async with open_runtime("docker", session_id="s", owner="me"):
            pass


async def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(RuntimeUnavailableError, match="choose one of auto, docker, process"):
        await choose_runtime("podman")


async def test_nothing_is_opened_before_it_was_chosen() -> None:
    """Whoever chooses has the notice, and tells it."""
    with pytest.raises(ValueError, match="'auto' is no runtime; ask choose_runtime"):
        async with open_runtime("auto", session_id="s", owner="me"):
            pass


async def test_choosing_loads_no_docker_client(tmp_path: Path) -> None:
    """Nor does opening local processes."""
    program = """
import sys, trio
from warmlane.runtimes import choose_runtime, open_runtime
async def main():
    assert (await choose_runtime("auto")).kind == "process"
    async with open_runtime("process", session_id="light", owner="me"):
        assert "docker" not in sys.modules
trio.run(main)
"""
    environment = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock", "PATH": "/usr/bin:/bin"}
    await trio.run_process([sys.executable, "-c", program], env=environment)
