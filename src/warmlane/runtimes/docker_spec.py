"""What a container is, in the words of the Docker API; and what the daemon's words about one mean. Pure.

Hardened by default: no capabilities, no new privileges, read-only root, a bounded tmpfs at /tmp, a limit on
processes, an ordinary user, bounded logs, and never a restart. `unix` containers have no network at all, `tcp` ones
publish one port on 127.0.0.1.

A container with an agent gets its secrets in a file of its run directory, so `docker inspect` shows none of them. An
image that brings its own server (`container.port`) runs its own command untouched, as its own user if it names one
that is not root; its `env` can reach it only through the container's environment, and it finds /run writable.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from attrs import frozen

from warmlane import agent
from warmlane._version import __version__
from warmlane.errors import (
    ContainerFaultError,
    ContainerLostError,
    PortTakenError,
    RuntimeRefusedError,
    WarmlaneError,
)
from warmlane.plan.model import Container
from warmlane.runtimes.protocol import Birth
from warmlane.runtimes.rundir import AGENT_JSON, SOCKET

SESSION_LABEL = "warmlane.session"
OWNER_LABEL = "warmlane.owner"
_VERSION_LABEL = "warmlane.version"

AGENT_PORT = 9000
"""Where the agent listens in its container, if its transport is `tcp`."""
_RUN = "/run/warmlane"
_WORKSPACE = "/workspace"
_AGENT = "/opt/warmlane_agent"
_AGENT_SOURCE = str(Path(agent.__path__[0], "warmlane_agent").resolve())

_NOBODY = "65534:65534"
_PIDS = 1024
_TRANSIENT = ["/tmp", "/dev", "/dev/shm", "/dev/mqueue", "/proc/sysvipc"]  # noqa: S108 - in the container
"""Where a process in a container can leave something, the workspace apart; in /dev, if it is root."""
_TMPFS = "rw,exec,nosuid,nodev,size=512m,mode=1777"
_LOG = {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}
_KILLED = 128 + 9
_UNREADABLE = 97  # the agent's exit code for a workspace that it cannot read
_PORT_TAKEN = re.compile(r"port is already allocated|address already in use", re.IGNORECASE)


@frozen(kw_only=True)
class Invoker:
    """The user on whose behalf containers are made."""

    uid: int
    gid: int


def agent_config(birth: Birth) -> dict[str, Any]:
    """What agent.json says to the agent of this container."""
    unix = birth.container.transport == "unix"
    return {
        "listen": f"unix://{_RUN}/{SOCKET}" if unix else f"tcp://0.0.0.0:{AGENT_PORT}",
        "token": birth.token,
        "env": dict(birth.container.env),
        "workspace": _WORKSPACE if birth.container.workspace else None,
        "lifeline": False,
        "transient": [*_TRANSIENT, _RUN],
    }


def container_config(birth: Birth, run_dir: Path | None, invoker: Invoker, image_user: str = "") -> dict[str, Any]:
    """The body of `POST /containers/create`. `run_dir` is None if the image brings its own server; `image_user` is
    the user that such an image names."""
    container = birth.container
    user = _user(container, invoker, image_user)
    tmpfs = _TMPFS + _owner_of_tmpfs(user)
    host: dict[str, Any] = {
        "Init": True,  # programs that are PID 1 ignore SIGTERM
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "IpcMode": "private",  # the agent takes away whatever is in it
        "ReadonlyRootfs": True,
        "Tmpfs": {"/tmp": tmpfs},  # noqa: S108 - in the container
        "PidsLimit": _PIDS,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": _LOG,
        "Mounts": _mounts(birth, run_dir),
    }
    config: dict[str, Any] = {
        "Image": container.image,
        "User": user,
        "Labels": {SESSION_LABEL: birth.session_id, OWNER_LABEL: birth.owner, _VERSION_LABEL: __version__},
        "Healthcheck": {"Test": ["NONE"]},  # Docker calls a paused container unhealthy; we ask the agent ourselves
        "HostConfig": host,
    }
    if run_dir is None:
        host["Tmpfs"]["/run"] = tmpfs  # where servers keep their pid files
        config["Env"] = [f"{name}={value}" for name, value in container.env.items()]
    else:
        config["Entrypoint"] = ["python3", "-I", "-S", f"{_AGENT}/__main__.py", f"{_RUN}/{AGENT_JSON}"]
        config["Cmd"] = []
        config["StopSignal"] = "SIGTERM"
    if birth.port is None:
        host["NetworkMode"] = "none"
        config["NetworkDisabled"] = True  # halves the time of a start on Docker before 28
    else:
        port = f"{container.port or AGENT_PORT}/tcp"
        config["ExposedPorts"] = {port: {}}
        host["PortBindings"] = {port: [{"HostIp": "127.0.0.1", "HostPort": str(birth.port)}]}
    return config


def birth_error(refusal: RuntimeRefusedError, birth: Birth) -> WarmlaneError:
    """Whose fault it is that the daemon would not create or start this container."""
    if birth.port is not None and _PORT_TAKEN.search(refusal.said):
        return PortTakenError(birth.port)
    if refusal.status == 404 and "no such container" in refusal.said.lower():
        return ContainerLostError(birth.name, refusal.said)
    if refusal.status == 409:
        return refusal  # the name is in use
    return ContainerFaultError(birth.name, birth.container.image, refusal.said)


def why_not_running(about: dict[str, Any], has_agent: bool) -> str:
    """What `inspect` says of why a container does not run, as a clause."""
    state = about["State"]
    code = state.get("ExitCode", 0)
    if state.get("Running"):
        return "it runs"
    if state.get("Status") == "created":
        return f"it could not be started: {state['Error']}" if state.get("Error") else "it was never started"
    limit = about["HostConfig"].get("Memory", 0)
    memory = f"its memory limit{f' of {limit // 2**20} MiB' if limit else ''}"
    if state.get("OOMKilled") and code == _KILLED:
        return f"it was killed for exceeding {memory}"
    if has_agent and code == 127:
        return "its image has no python3, which the agent needs; take one that has it"
    if has_agent and code == _UNREADABLE:
        return _unreadable(about)
    what = "its agent" if has_agent else "the image's own server"
    how = f"was killed by signal {code - 128}" if code > 128 else f"exited with code {code}"
    # Docker says so of a container in which the kernel has killed anything at all, at any time.
    before = f", after a process in it was killed for exceeding {memory}" if state.get("OOMKilled") else ""
    return f"{what} {how}{before}"


def _unreadable(about: dict[str, Any]) -> str:
    user = about["Config"]["User"]
    folder = next(mount["Source"] for mount in about["Mounts"] if mount["Destination"] == _WORKSPACE)
    advice = "set container.user to one who can, or let others read it (chmod o+rx)"
    return f"user {user} cannot read the folder {folder}, its workspace; {advice}"


def _user(container: Container, invoker: Invoker, image_user: str) -> str:
    if container.user:
        return container.user
    if container.port is not None and image_user.partition(":")[0] not in ("", "0", "root"):
        return image_user
    writes_to_host = container.workspace is not None and container.workspace.mode == "rw"
    return _NOBODY if invoker.uid == 0 and not writes_to_host else f"{invoker.uid}:{invoker.gid}"


def _owner_of_tmpfs(user: str) -> str:
    """runc gives a tmpfs the mode of the directory that it covers, whatever is asked; so its user has to own it. One
    that has a name and no number gets what the image's own directory would have let it do."""
    uid, _, gid = user.partition(":")
    return f",uid={uid}" * uid.isdigit() + f",gid={gid}" * gid.isdigit()


def _mounts(birth: Birth, run_dir: Path | None) -> list[dict[str, Any]]:
    """Mounts, not binds: for these the daemon refuses a source that does not exist, instead of making it as root."""
    workspace = birth.container.workspace
    mounts: list[dict[str, Any]] = []
    if run_dir is not None:
        unix = birth.container.transport == "unix"
        mounts.append(_bind(str(run_dir), _RUN, read_only=not unix))
        if unix:  # a block that runs as its owner could leave something in it
            mounts.append(_bind(str(run_dir / AGENT_JSON), f"{_RUN}/{AGENT_JSON}", read_only=True))
        mounts.append(_bind(_AGENT_SOURCE, _AGENT, read_only=True))
    if workspace is not None:
        mounts.append(_bind(workspace.path, _WORKSPACE, read_only=workspace.mode == "ro"))
    return mounts


def _bind(source: str, target: str, *, read_only: bool) -> dict[str, Any]:
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only}
