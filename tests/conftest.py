"""Fixtures for the whole suite: Docker, the images in it, and the promise that nothing is left behind."""

import os
import tempfile
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

from dockerd.api import Daemon, configured_url
from images.recipes import WITH_PYTHON, WITHOUT_PYTHON
from leaks import Holdings, leaks_since, mark_processes
from pythons import describe


def pytest_configure(config: pytest.Config) -> None:
    """A mark for all processes of this run, and run directories that no other run sees or sweeps."""
    mark_processes()
    folder = tempfile.TemporaryDirectory(prefix="wltest-", dir="/tmp", ignore_cleanup_errors=True)  # short: sockets
    config.add_cleanup(folder.cleanup)
    os.environ["XDG_RUNTIME_DIR"] = folder.name


def pytest_report_header() -> str:
    """Which tests of the agent run is decided by the machine, so it is told."""
    return f"pythons for the agent: {describe()}"


@pytest.fixture(scope="session")
def lacking() -> Callable[[str], NoReturn]:
    """`lacking("takes root")`: skips the test on a user's machine, and fails it where everything must run."""
    return pytest.fail if os.environ.get("CI") else pytest.skip


@pytest.fixture(scope="session")
def docker_url() -> str:
    """The address of the Docker daemon. Skips the test when there is none, and fails it when Docker is required."""
    daemon = Daemon(configured_url())
    if not daemon.answers():
        reason = f"no Docker daemon answers at {daemon.url}; tools/test --docker starts one"
    elif not daemon.has_image(WITH_PYTHON.tag):
        reason = f"the daemon at {daemon.url} has no image {WITH_PYTHON.tag}; tools/test --docker builds it"
    else:
        return daemon.url
    if os.environ.get("CI") or os.environ.get("WARMLANE_TEST_DOCKER") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def python_image(docker_url: str) -> str:
    """An image with Python, and the users root, app (1000) and nobody."""
    return WITH_PYTHON.tag


@pytest.fixture(scope="session")
def bare_image(docker_url: str) -> str:
    """An image without Python: busybox only."""
    return WITHOUT_PYTHON.tag


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Every test: no thread, process, file descriptor or run directory of ours is left when it has ended."""
    before = Holdings.now()
    yield
    _refuse(leaks_since(before))


@pytest.fixture
def no_container_left(docker_url: str) -> Iterator[None]:
    """Nor a container with our labels."""
    daemon = Daemon(docker_url)
    before = Holdings.now(daemon)
    yield
    _refuse(leaks_since(before, daemon))


def _refuse(left: list[str]) -> None:
    if left:
        pytest.fail("left behind:\n" + "\n".join(left), pytrace=False)
