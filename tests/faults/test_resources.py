"""File descriptors, disk and ports run out: blocks wait, or say what is missing; nothing is left, and all goes on."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
import trio

import warmlane
from warmlane.engine import Report
from warmlane.plan.model import WorkflowPlan
from warmlane.settings import Graces, Settings

GRACES = Graces(terminate=0.2, settle=2.0, remove=12.0, pull=5.0, birth=5.0, health=5.0)
BOUND = 60.0
WIDE = 12


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def runtime(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each kind, with a session on the daemon of the tests."""
    kind: str = request.param
    if kind == "docker":
        monkeypatch.setenv("DOCKER_HOST", request.getfixturevalue("docker_url"))
        request.getfixturevalue("no_container_left")
    return kind


def wide_plan(runtime: str, transport: str) -> WorkflowPlan:
    """A lane of many blocks at once."""
    container: dict[str, Any] = {"transport": transport}
    if runtime == "docker":
        container["image"] = "warmlane-test:latest"
    blocks = {f"b{number}": {"command": ["sleep", "0.2"]} for number in range(WIDE)}
    return warmlane.read_plan(
        {
            "name": "wide",
            "maxContainers": WIDE,
            "failureMode": "lenient",
            "container": container,
            "blocks": blocks,
            "lanes": [{"blocks": list(blocks)}],
        }
    )


def check(report: Report, *words: str) -> None:
    """Every block has succeeded, or says what was missing."""
    assert len(report.results) == WIDE
    for result in report.results:
        assert result.status == "succeeded" or any(word in (result.error or "") for word in words), result


@contextmanager
def descriptors_left(number: int) -> Iterator[None]:
    """So many more may be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(number)]
        for descriptor in opened:
            stack.callback(os.close, descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (opened[-1] + 1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("number", [3, 12, 24])
async def test_file_descriptors(runtime: str, number: int) -> None:
    plan = wide_plan(runtime, "unix")
    with trio.fail_after(BOUND):
        async with warmlane.open_session(runtime, settings=Settings(max_containers=WIDE, graces=GRACES)) as session:
            with descriptors_left(number):
                report = await session.run(plan)
            check(report, "Too many open files", "/health")
            report = await session.run(plan)
            assert [result.error for result in report.results] == [None] * WIDE


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch, lacking: Callable[[str], NoReturn]) -> Iterator[Path]:
    """Run directories lie on a disk with room for some containers, but not for all."""
    if os.geteuid() != 0:
        lacking("mounting a small disk takes root")
    with tempfile.TemporaryDirectory(prefix="wlfull", dir="/tmp") as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k,mode=700", "tmpfs", folder], check=True)
        try:
            monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


async def test_disk(runtime: str, small_disk: Path) -> None:
    plan = wide_plan(runtime, "unix")
    with trio.fail_after(BOUND):
        async with warmlane.open_session(runtime, settings=Settings(max_containers=WIDE, graces=GRACES)) as session:
            report = await session.run(plan)
            check(report, "No space left on device")
            assert any(result.status == "failed" for result in report.results)
            await trio.run_process(["mount", "-o", "remount,size=16m", str(small_disk)])
            report = await session.run(plan)
            assert [result.error for result in report.results] == [None] * WIDE
    assert list((small_disk / "warmlane").iterdir()) == []


async def test_a_disk_that_is_full_from_the_start(runtime: str, small_disk: Path) -> None:
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(1 << 20))
    async with warmlane.open_session(runtime, settings=Settings(graces=GRACES)) as session:
        report = await session.run(wide_plan(runtime, "unix"))
        check(report, "No space left on device")
        assert {result.status for result in report.results} == {"failed"}
        filler.unlink()
        await trio.run_process(["mount", "-o", "remount,size=16m", str(small_disk)])
        report = await session.run(wide_plan(runtime, "unix"))
        assert [result.error for result in report.results] == [None] * WIDE


async def test_ports_of_which_there_are_fewer_than_blocks_are_shared(runtime: str) -> None:
    """Who gets none waits until one is free."""
    first = 9800
    settings = Settings(max_containers=WIDE, ports=range(first, first + 3), graces=GRACES)
    with trio.fail_after(BOUND):
        async with warmlane.open_session(runtime, settings=settings) as session:
            report = await session.run(wide_plan(runtime, "tcp"))
            assert [result.error for result in report.results] == [None] * WIDE
            assert len(session.pool_status().containers) <= 3


async def test_ports_that_others_have(runtime: str) -> None:
    """All of them: a clear error. When one is given up, the next run has it."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        ports = [listener.getsockname()[1] for listener in listeners]
        taken = range(ports[0], ports[0] + 1)
        async with warmlane.open_session(runtime, settings=Settings(ports=taken, graces=GRACES)) as session:
            with trio.fail_after(BOUND):
                check(await session.run(wide_plan(runtime, "tcp")), f"no port is free in {ports[0]}-{ports[0]}")
            listeners[0].close()
            with trio.fail_after(BOUND):
                report = await session.run(wide_plan(runtime, "tcp"))
            assert [result.error for result in report.results] == [None] * WIDE
