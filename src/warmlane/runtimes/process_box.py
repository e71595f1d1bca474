"""One container of the `process` runtime: a run directory, and a local process group with the agent at its head.

What must outlive the engine stands in the directory's box.json, so that another session can find and end it: who
owns it, and who its first process is. All calls here are synchronous.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import trio
from attrs import asdict, define, field, frozen

from warmlane import agent
from warmlane.errors import ContainerFaultError, PortTakenError, RuntimeRefusedError
from warmlane.runtimes.process_tree import MARK, Identity, below, identify, signal_each
from warmlane.runtimes.protocol import Birth
from warmlane.runtimes.rundir import AGENT_JSON, SOCKET

AGENT = Path(agent.__path__[0], "warmlane_agent", "__main__.py")

_BOX_JSON = "box.json"
_LOG = "agent.log"
_LOG_TAIL = 4096
_BACKLOG = 128
_left: list[subprocess.Popen[bytes]] = []
"""The agents that sessions of this process have left behind, and that have not ended: they are its children still."""
_OF_A_BLOCK = frozenset(
    f"WARMLANE_{name}" for name in ("EXECUTION_ID", "BLOCK_ID", "ATTEMPT", "INPUT", "OUTPUT", "WORKSPACE")
)


@frozen(kw_only=True)
class Card:
    """What box.json says. `agent` is None as long as it was not started."""

    owner: str
    mark: str
    agent: Identity | None

    @property
    def state(self) -> Literal["created", "running", "paused", "dead"]:
        if self.agent is None:
            return "created"
        match self.agent.state():
            case None:
                return "dead"
            case "T":
                return "paused"
            case _:
                return "running"


def read_card(path: Path) -> Card | None:
    """The card in a run directory; None if there is none: it is not a process's, or just coming or going.

    Raises OSError if it cannot be read for another reason.
    """
    try:
        said: dict[str, Any] = json.loads((path / _BOX_JSON).read_text())
        agent_said = said["agent"]
        return Card(owner=said["owner"], mark=said["mark"], agent=Identity(**agent_said) if agent_said else None)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def never_began(path: Path) -> bool:
    """Whether a run directory without a card is of a container that was to be a process, or nothing yet: whoever made
    it was stopped before he could write one. Raises OSError if that cannot be read."""
    try:
        return bool(json.loads((path / AGENT_JSON).read_text())["lifeline"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return True


def agent_config(birth: Birth, path: Path) -> dict[str, Any]:
    """What agent.json says to the agent of this container."""
    workspace = birth.container.workspace
    return {
        "listen": address_of(birth, path),
        "token": birth.token,
        "env": dict(birth.container.env),
        "workspace": workspace.path if workspace else None,
        "lifeline": True,
        "scratch": str(path),
    }


def require_workspace(birth: Birth) -> None:
    """Raises ContainerFaultError if blocks could not read the folder that they are to find."""
    if birth.container.workspace is None:
        return
    path = birth.container.workspace.path
    if not os.path.exists(path):
        said = f"its workspace does not exist: {path}; make that folder, or change container.workspace"
    elif not os.path.isdir(path):
        said = f"its workspace is not a folder: {path}; change container.workspace"
    elif not os.access(path, os.R_OK | os.X_OK):
        said = f"you cannot read the folder {path}, its workspace; make it readable, or change container.workspace"
    else:
        return
    raise ContainerFaultError(birth.name, None, said)


def our_names() -> set[str]:
    """How a plan may call the user that local processes run as: there is no other."""
    uid, gid = os.geteuid(), os.getegid()
    names = {str(uid), f"{uid}:{gid}"}
    try:
        return names | {pwd.getpwuid(uid).pw_name}
    except KeyError:
        return names


def wait_for_the_left() -> None:
    """Sees to it that those of `Box.leave` that have ended are no zombies."""
    _left[:] = [process for process in _left if process.poll() is None]


def address_of(birth: Birth, path: Path) -> str:
    """Where its agent listens."""
    return f"unix://{path / SOCKET}" if birth.port is None else f"tcp://127.0.0.1:{birth.port}"


@define(eq=False)
class Box:
    """A container of this session."""

    birth: Birth
    path: Path
    process: subprocess.Popen[bytes] | None = None
    agent: Identity | None = None
    handle: int = -1
    """The pidfd of the agent, as long as it was not waited for."""
    frozen: list[int] | None = None
    """Who was stopped, if it is frozen."""
    ended: trio.Event = field(factory=trio.Event)
    """Its agent has died, and was waited for."""

    @property
    def mark(self) -> str:
        return f"{self.birth.session_id}/{self.birth.name}"

    def write_card(self) -> None:
        card = Card(owner=self.birth.owner, mark=self.mark, agent=self.agent)
        fresh = self.path / f".{_BOX_JSON}"
        fresh.write_text(json.dumps(asdict(card)), encoding="utf-8")
        fresh.rename(self.path / _BOX_JSON)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Starts the agent. Its socket listens before it runs, so that the first request need not be repeated.

        Raises OSError, RuntimeRefusedError or PortTakenError, and then it does not run.
        """
        listener = self._listen()
        with listener, (self.path / _LOG).open("ab") as log:
            try:
                self.process = subprocess.Popen(
                    [
                        *(sys.executable, "-I", "-S", str(AGENT)),
                        *(str(self.path / AGENT_JSON), str(listener.fileno())),
                    ],
                    stdin=subprocess.PIPE,  # the lifeline: it ends with us, however we end
                    stdout=log,
                    stderr=log,
                    env=self._environment(),
                    cwd=self.path,
                    pass_fds=[listener.fileno()],
                    # Not a session of its own: if we die while it is frozen, the kernel thaws it (and sends SIGHUP),
                    # for a stopped process group that has just been orphaned would stay so for ever.
                    process_group=0,
                )
            except OSError as error:
                raise RuntimeRefusedError("start a local process", str(error)) from error
        try:
            self.agent = identify(self.process.pid)
            self.write_card()
            self.handle = os.pidfd_open(self.process.pid)
        except OSError:
            self.process.kill()
            self.process.wait()
            self.ended.set()
            raise

    def wait(self) -> None:
        """It has ended: nothing of it is left with us but its place in the table."""
        assert self.process is not None
        self.process.wait()
        os.close(self.handle)
        self.ended.set()

    def freeze(self) -> list[int]:
        """Sends SIGSTOP to the agent, and then to what is below it, which can bear no more; to whom."""
        if self.agent is not None and self.frozen is None:
            signal_each([self.agent.pid], signal.SIGSTOP)
            others = below(self.agent.pid)
            signal_each(others, signal.SIGSTOP)
            self.frozen = [*others, self.agent.pid]
        return self.frozen or []

    def thaw(self) -> None:
        if self.frozen is not None:
            signal_each(self.frozen, signal.SIGCONT)
            self.frozen = None

    def log_tail(self) -> str:
        try:
            with (self.path / _LOG).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL))
                return log.read().decode(errors="backslashreplace")
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        """Lets go of the lifeline."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def leave(self) -> None:
        """Its session ends, and it is not confirmed gone: thaws it and lets go of the lifeline, so that it may end."""
        assert self.process is not None
        self.thaw()
        self.close()
        os.close(self.handle)
        _left.append(self.process)

    def _environment(self) -> Mapping[str, str]:
        """Ours, without what only the blocks of another Warmlane around us should see."""
        inherited = {name: value for name, value in os.environ.items() if name not in _OF_A_BLOCK}
        return {**inherited, MARK: self.mark}

    def _listen(self) -> socket.socket:
        port = self.birth.port
        listener = socket.socket(socket.AF_UNIX if port is None else socket.AF_INET)
        try:
            if port is None:
                listener.bind(str(self.path / SOCKET))
            else:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(("127.0.0.1", port))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            if port is not None:
                raise PortTakenError(port) from error
            raise RuntimeRefusedError("listen on a unix socket", str(error)) from error
        return listener
