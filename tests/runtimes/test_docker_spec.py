"""What the Docker API is asked for, and what its words mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from warmlane.errors import (
    ContainerFaultError,
    ContainerLostError,
    PortTakenError,
    RuntimeRefusedError,
    WarmlaneError,
)
from warmlane.plan.model import Container, Workspace
from warmlane.runtimes.docker_spec import Invoker, agent_config, birth_error, container_config, why_not_running
from warmlane.runtimes.protocol import Birth

ROOT, USER = Invoker(uid=0, gid=0), Invoker(uid=1000, gid=100)
RUN_DIR = Path("/run/user/0/warmlane/s1/wl-1")


def birth(container: Container, port: int | None = 9100) -> Birth:
    return Birth(name="wl-1", container=container, session_id="s1", owner="me", port=port, token="s3cret")


def config_of(container: Container, *, port: int | None = 9100, invoker: Invoker = USER) -> dict[str, Any]:
    return container_config(birth(container, port), RUN_DIR, invoker)


def test_neither_token_nor_environment_is_in_what_inspect_shows() -> None:
    container = Container(image="x", transport="tcp", env={"PASSWORD": "hunter2"})
    assert agent_config(birth(container)) == {
        "listen": "tcp://0.0.0.0:9000",
        "token": "s3cret",
        "env": {"PASSWORD": "hunter2"},
        "workspace": None,
        "lifeline": False,
        "transient": ["/tmp", "/dev", "/dev/shm", "/dev/mqueue", "/proc/sysvipc", "/run/warmlane"],
    }
    shown = json.dumps(config_of(container))
    assert "s3cret" not in shown
    assert "hunter2" not in shown
    assert "PASSWORD" not in shown


def test_a_tcp_container_publishes_one_port_on_the_loopback_interface_and_cannot_write_its_run_directory() -> None:
    config = config_of(Container(image="x", transport="tcp"))
    assert config["HostConfig"]["PortBindings"] == {"9000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9100"}]}
    assert "NetworkDisabled" not in config
    mounts = {mount["Target"]: mount for mount in config["HostConfig"]["Mounts"]}
    assert mounts["/run/warmlane"] == {
        "Type": "bind",
        "Source": str(RUN_DIR),
        "Target": "/run/warmlane",
        "ReadOnly": True,
    }
    assert mounts["/opt/warmlane_agent"]["ReadOnly"]


def test_a_unix_container_has_no_network_and_makes_its_socket_in_its_run_directory() -> None:
    container = Container(image="x", transport="unix")
    config = config_of(container, port=None)
    assert config["NetworkDisabled"]
    assert config["HostConfig"]["NetworkMode"] == "none"
    assert "PortBindings" not in config["HostConfig"]
    assert agent_config(birth(container, None))["listen"] == "unix:///run/warmlane/agent.sock"
    mounts = {mount["Target"]: mount["ReadOnly"] for mount in config["HostConfig"]["Mounts"]}
    assert not mounts["/run/warmlane"]
    assert mounts["/run/warmlane/agent.json"]


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_the_workspace_is_mounted_as_asked_and_never_made(mode: Any) -> None:
    container = Container(image="x", transport="tcp", workspace=Workspace(path="/home/me/repo", mode=mode))
    mount = config_of(container)["HostConfig"]["Mounts"][-1]
    assert mount == {
        "Type": "bind",  # as a mount; of a bind, the daemon makes a source that is missing
        "Source": "/home/me/repo",
        "Target": "/workspace",
        "ReadOnly": mode == "ro",
    }
    assert agent_config(birth(container))["workspace"] == "/workspace"


RW = Workspace(path="/w", mode="rw")


@pytest.mark.parametrize(
    ("container", "invoker", "user"),
    [
        (Container(), USER, "1000:100"),
        (Container(), ROOT, "65534:65534"),
        (Container(workspace=Workspace(path="/w")), ROOT, "65534:65534"),
        (Container(workspace=RW), ROOT, "0:0"),
        (Container(workspace=RW), USER, "1000:100"),
        (Container(user="daemon", workspace=RW), ROOT, "daemon"),
    ],
)
def test_blocks_run_as_an_ordinary_user_unless_root_must_write_to_the_host(
    container: Container, invoker: Invoker, user: str
) -> None:
    assert config_of(container, invoker=invoker)["User"] == user


@pytest.mark.parametrize(
    ("user", "owner"), [("1000:100", ",uid=1000,gid=100"), ("7", ",uid=7"), ("app", ""), ("app:50", ",gid=50")]
)
def test_the_user_owns_tmp_where_its_number_is_known(user: str, owner: str) -> None:
    tmpfs = config_of(Container(user=user))["HostConfig"]["Tmpfs"]
    assert tmpfs == {"/tmp": f"rw,exec,nosuid,nodev,size=512m,mode=1777{owner}"}


@pytest.mark.parametrize(
    ("image_user", "user"),
    [("", "65534:65534"), ("root", "65534:65534"), ("0:0", "65534:65534"), ("nginx", "nginx"), ("101:101", "101:101")],
)
def test_an_image_with_its_own_server_keeps_its_user_unless_that_is_root(image_user: str, user: str) -> None:
    config = container_config(birth(Container(image="x", port=8080)), None, ROOT, image_user)
    assert config["User"] == user


def test_an_image_with_its_own_server_runs_untouched_and_is_published_where_it_listens() -> None:
    container = Container(image="x", port=8080, transport="tcp", env={"A": "1"})
    config = container_config(birth(container), None, USER)
    assert "Entrypoint" not in config
    assert "Cmd" not in config
    assert config["Env"] == ["A=1"]
    assert config["HostConfig"]["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9100"}]}
    assert config["HostConfig"]["Mounts"] == []
    assert set(config["HostConfig"]["Tmpfs"]) == {"/tmp", "/run"}
    assert config["HostConfig"]["ReadonlyRootfs"]


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (500, "driver failed: Bind for 127.0.0.1:9100 failed: port is already allocated", PortTakenError),
        (500, "listen tcp4 127.0.0.1:9100: bind: address already in use", PortTakenError),
        (404, "No such image: x:latest", ContainerFaultError),
        (404, "No such container: wl-1", ContainerLostError),
        (409, 'Conflict. The container name "/wl-1" is already in use', RuntimeRefusedError),
        (400, "OCI runtime create failed: exec format error", ContainerFaultError),
        (400, "bind source path does not exist: /home/me/repo", ContainerFaultError),
    ],
)
def test_a_birth_that_was_refused_is_the_fault_of_the_right_one(
    status: int, said: str, error: type[WarmlaneError]
) -> None:
    found = birth_error(RuntimeRefusedError("start a container", said, status=status), birth(Container(image="x")))
    assert type(found) is error
    assert isinstance(found, PortTakenError) or said in str(found)


def inspected(memory: int = 0, **state: Any) -> dict[str, Any]:
    return {"State": {"Status": "exited", "Running": False, **state}, "HostConfig": {"Memory": memory}}


@pytest.mark.parametrize(
    ("about", "has_agent", "clause"),
    [
        (inspected(Status="running", Running=True), True, "it runs"),
        (inspected(Status="paused", Running=True, Paused=True), True, "it runs"),
        (inspected(Status="created"), True, "it was never started"),
        (inspected(Status="created", Error="no shim"), True, "it could not be started: no shim"),
        (inspected(ExitCode=127), True, "its image has no python3, which the agent needs; take one that has it"),
        (inspected(ExitCode=127), False, "the image's own server exited with code 127"),
        (inspected(ExitCode=1), True, "its agent exited with code 1"),
        (inspected(ExitCode=137), True, "its agent was killed by signal 9"),
        (inspected(ExitCode=137, OOMKilled=True), True, "it was killed for exceeding its memory limit"),
        (
            inspected(512 * 2**20, ExitCode=137, OOMKilled=True),
            True,
            "it was killed for exceeding its memory limit of 512 MiB",
        ),
        (
            inspected(ExitCode=3, OOMKilled=True),
            True,
            "its agent exited with code 3, after a process in it was killed for exceeding its memory limit",
        ),
    ],
)
def test_why_a_container_does_not_run(about: dict[str, Any], has_agent: bool, clause: str) -> None:
    assert why_not_running(about, has_agent) == clause


def test_a_workspace_that_cannot_be_read_is_named_with_its_user() -> None:
    about = inspected(ExitCode=97) | {
        "Config": {"User": "65534:65534"},
        "Mounts": [{"Source": "/run", "Destination": "/run/warmlane"}, {"Source": "/w", "Destination": "/workspace"}],
    }
    assert why_not_running(about, True) == (
        "user 65534:65534 cannot read the folder /w, its workspace; set container.user to one who can, or let others"
        " read it (chmod o+rx)"
    )
