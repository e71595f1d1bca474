"""A private Docker daemon: it serves, it keeps away from others, and nothing of it is left."""

import ipaddress
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
from docker import APIClient

from dockerd import private
from dockerd.api import Daemon, DaemonError
from dockerd.bridge import subnets_in_use
from dockerd.leftovers import mounts_under, processes_of, root_is_in
from images.recipes import EXAMPLES_TAG, RECIPES, WITH_PYTHON
from images.supply import supply
from run_tests import docker_environment
from with_docker import call

TOOLS = Path(private.__file__).parent.parent

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""


def test_subnets_are_read_from_the_routing_table() -> None:
    networks = [ipaddress.IPv4Network(text) for text in ("192.0.2.0/24", "172.17.0.0/16")]
    assert subnets_in_use(ROUTES) == networks


def test_a_process_that_only_sees_the_mounts_of_a_container_is_left_alone() -> None:
    """Each new mount namespace begins with a copy of all mounts, and its processes are none of ours."""
    mounts = [
        "22 1 254:0 / / rw - ext4 /dev/vda rw",
        "95 22 0:44 / /tmp/x/data/merged rw - overlay overlay rw,upperdir=/tmp/x/data/1/diff",
    ]
    root = "95 22 0:44 / / rw - overlay overlay rw,upperdir=/tmp/x/data/1/diff"
    assert not root_is_in(Path("/tmp/x"), "\n".join(mounts))
    assert root_is_in(Path("/tmp/x"), root)


def test_a_daemon_that_is_not_there_does_not_answer(tmp_path: Path) -> None:
    assert not Daemon(f"unix://{tmp_path}/none.sock").answers()
    with pytest.raises(DaemonError, match="does not answer"):
        Daemon(f"unix://{tmp_path}/none.sock").containers()


def test_a_strange_address_is_refused_in_words() -> None:
    with pytest.raises(DaemonError, match="expected unix:///path or tcp://host:port"):
        Daemon("ssh://there").containers()


def test_a_refusal_carries_the_words_of_the_daemon(docker_url: str) -> None:
    with pytest.raises(DaemonError, match=r"(?i)refused DELETE /containers/no-such-one: .*no such container"):
        Daemon(docker_url).remove_container("no-such-one")


@pytest.fixture
def able(docker_url: str, lacking: Callable[[str], NoReturn]) -> None:
    """Docker tests run here, and this machine can start a daemon of its own."""
    if os.geteuid() != 0 or not shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin"):
        lacking("a private daemon takes root and dockerd")


def bridge_of(folder: Path) -> Path:
    """Where the kernel shows the bridge of the daemon in this folder."""
    return Path("/sys/class/net", (folder / "bridge").read_text())


def left_of(folder: Path) -> list[object]:
    """What there is of a daemon that has ended."""
    return [*([folder] if folder.exists() else []), *processes_of(folder), *mounts_under(folder)]


def fetch(port: int) -> bytes:
    """Ask until the server in the container has come up."""
    for _ in range(200):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            if answer := connection.recv(100):
                return answer
        time.sleep(0.05)
    raise AssertionError(f"nothing answers at port {port}")


@pytest.mark.docker
@pytest.mark.usefixtures("able")
def test_it_serves_and_nothing_is_left(docker_url: str) -> None:
    """Not even when a container still runs, with a published port, at its end; and another daemon did not notice."""
    neighbour = APIClient(docker_url)
    other = neighbour.create_container(WITH_PYTHON.tag, ["true"])["Id"]
    neighbour.close()
    with private.private_daemon() as daemon:
        folder = Path(daemon.url.removeprefix("unix://")).parent
        bridge = bridge_of(folder)
        address = (bridge / "address").read_text()
        supply(daemon, for_examples=True, say=print)
        assert all(daemon.has_image(recipe.tag) for recipe in RECIPES)
        assert daemon.has_image(EXAMPLES_TAG)
        client = APIClient(daemon.url)
        container = client.create_container(
            WITH_PYTHON.tag,
            ["python3", "-m", "http.server", "80"],
            ports=[80],
            host_config=client.create_host_config(port_bindings={80: ("127.0.0.1", None)}, init=True),
        )
        client.start(container)
        port = int(client.port(container["Id"], 80)[0]["HostPort"])
        client.close()
        assert fetch(port).startswith(b"HTTP/1.0 200")
        assert (bridge / "address").read_text() == address, "what is sent to the old one is lost"
    assert left_of(folder) == []
    assert not bridge.exists()
    assert [found["Id"] for found in Daemon(docker_url).containers() if found["Id"] == other] == [other]
    Daemon(docker_url).remove_container(other)


def start_command() -> tuple["subprocess.Popen[str]", Path, int]:
    """A command under tools/with-docker: the process of the tool, the daemon's folder, the command's process id."""
    command = ["sh", "-c", 'echo "$DOCKER_HOST $$"; exec sleep 1000']
    process = subprocess.Popen(
        [sys.executable, TOOLS / "with_docker.py", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url, pid = process.stdout.readline().split()
    return process, Path(url.removeprefix("unix://")).parent, int(pid)


@pytest.mark.docker
@pytest.mark.usefixtures("able")
def test_a_signal_ends_command_and_daemon() -> None:
    process, folder, pid = start_command()
    bridge = bridge_of(folder)
    with process:
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert left_of(folder) == []
    assert not bridge.exists()
    assert not Path("/proc", str(pid)).exists()


@pytest.mark.docker
@pytest.mark.usefixtures("able")
def test_what_a_killed_run_left_is_swept_by_the_next() -> None:
    """With its containers, whose processes are known by where their root directory lies."""
    process, folder, pid = start_command()
    bridge = bridge_of(folder)
    client = APIClient(f"unix://{folder}/docker.sock")
    container = client.create_container(WITH_PYTHON.tag, ["sleep", "1000"])
    client.start(container)
    running = client.inspect_container(container)["State"]["Pid"]
    client.close()
    assert running in processes_of(folder)
    with process:
        process.kill()
        os.kill(pid, signal.SIGKILL)
        process.communicate()
    assert left_of(folder)
    private.sweep()
    assert left_of(folder) == []
    assert not bridge.exists()


@pytest.mark.docker
@pytest.mark.usefixtures("able")
def test_a_living_run_is_not_swept() -> None:
    with private.private_daemon() as daemon:
        private.sweep()
        assert daemon.answers()


@pytest.mark.docker
@pytest.mark.usefixtures("able")
def test_a_daemon_that_does_not_start_says_why_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "bin" / "dockerd"
    broken.parent.mkdir()
    broken.write_text('#!/bin/sh\necho "no such luck: $*" >&2\nexit 1\n')
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}")
    with tempfile.TemporaryDirectory(dir="/tmp") as base:  # a socket's path must be short; tmp_path is long
        monkeypatch.setattr(private, "_BASE", Path(base))
        with (
            pytest.raises(private.PrivateDaemonError, match=r"dockerd did not start(?s:.*)no such luck") as raised,
            private.private_daemon(),
        ):
            pytest.fail("it started")
        assert list(Path(base).iterdir()) == []
    (bridge,) = re.findall(r"--bridge=(\S+)", str(raised.value))
    assert not Path("/sys/class/net", bridge).exists()


@pytest.mark.docker
def test_the_suite_uses_the_daemon_that_answers(docker_url: str) -> None:
    with docker_environment() as environment:
        assert environment == {"DOCKER_HOST": docker_url, "WARMLANE_TEST_DOCKER": "required"}


@pytest.mark.parametrize(("required", "code", "summary"), [("", 0, "1 skipped"), ("required", 1, "1 error")])
def test_without_docker_its_tests_are_skipped_unless_it_is_required(
    tmp_path: Path, required: str, code: int, summary: str
) -> None:
    one = f"{__file__}::test_the_suite_uses_the_daemon_that_answers"
    environment = {
        **{name: value for name, value in os.environ.items() if name != "CI"},
        "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
        "WARMLANE_TEST_DOCKER": required,
    }
    command = [sys.executable, "-P", "-m", "pytest", f"--rootdir={TOOLS.parent}", "-p", "no:cacheprovider", one]
    done = subprocess.run(command, env=environment, cwd=TOOLS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert summary in done.stdout
    assert "none.sock; tools/test --docker starts one" in done.stdout


def test_the_exit_code_of_a_command_is_passed_on() -> None:
    assert call(["sh", "-c", "exit 7"], {}) == 7
    assert call(["sh", "-c", "kill -9 $$"], {}) == 128 + signal.SIGKILL


def test_an_addition_to_the_environment_reaches_the_command() -> None:
    assert call(["sh", "-c", 'test "$DOCKER_HOST" = there'], {"DOCKER_HOST": "there"}) == 0


def test_a_command_that_does_not_exist_is_said_in_words() -> None:
    assert call(["no-such-command"], {}) == 127
