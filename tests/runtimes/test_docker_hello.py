"""The first words with a daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from warmlane.errors import RuntimeUnavailableError
from warmlane.runtimes.docker_address import DockerAddress
from warmlane.runtimes.docker_hello import hail, why_not_docker


def greets_with(body: Any, status: int = 200) -> Any:
    async def script(exchange: Any) -> None:
        await exchange.answer(status, body)

    return script


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"),
    [("1.41", "1.12", "1.41"), ("1.47", "1.24", "1.41"), ("1.52", "1.44", "1.44")],
)
async def test_the_oldest_version_that_will_do_is_spoken(daemon: Any, newest: str, oldest: str, spoken: str) -> None:
    daemon.script = greets_with({"ApiVersion": newest, "MinAPIVersion": oldest})
    assert await hail(daemon.address) == spoken
    assert daemon.requests == ["GET /version"]


async def test_a_daemon_that_is_too_old_is_refused(daemon: Any) -> None:
    daemon.script = greets_with({"ApiVersion": "1.40", "MinAPIVersion": "1.12"})
    with pytest.raises(RuntimeUnavailableError, match=r"speaks API 1\.40; at least 1\.41 .* is needed"):
        await hail(daemon.address)


@pytest.mark.parametrize("body", ["hello", [], {}, {"ApiVersion": "new"}])
async def test_what_is_not_a_daemon_is_refused(daemon: Any, body: Any) -> None:
    daemon.script = greets_with(body)
    with pytest.raises(RuntimeUnavailableError, match="is not a Docker daemon"):
        await hail(daemon.address)


async def test_a_daemon_that_hangs_up_without_an_answer_is_not_there(daemon: Any) -> None:
    async def script(_exchange: Any) -> None:
        pass

    daemon.script = script
    with pytest.raises(RuntimeUnavailableError, match=r"nothing answers at unix://.*start Docker"):
        await hail(daemon.address)


async def test_a_silent_daemon_is_given_up(daemon: Any, autojump_clock: MockClock) -> None:
    async def script(_exchange: Any) -> None:
        await trio.sleep_forever()

    daemon.script = script
    with pytest.raises(RuntimeUnavailableError, match=r"nothing answered at unix://.* within 5 seconds"):
        await hail(daemon.address)


async def test_a_socket_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    why = await why_not_docker()
    assert why is not None
    assert "none.sock" in why
    assert "No such file" in why


async def test_a_socket_of_others_is_told_from_a_daemon_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_path: str) -> None:
        await trio.lowlevel.checkpoint()
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(trio, "open_unix_socket", refuse)
    with pytest.raises(RuntimeUnavailableError, match="this user may not use unix:///d"):
        await hail(DockerAddress("unix:///d", path="/d"))


async def test_nobody_listens_at_the_port() -> None:
    with pytest.raises(RuntimeUnavailableError, match="nothing answers"):
        await hail(DockerAddress("tcp://127.0.0.1:1", host="127.0.0.1", port=1))
