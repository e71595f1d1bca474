"""The floor: the Docker API and the agent, spoken to with `http.client` and nothing in between.

A `RawBox` is a container with the same image, flags and agent as the engine's, so that what differs is the engine.
Blocking, with a connection of its own for each thread that calls. Every call has a deadline.
"""

import http.client
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from dockerd.api import Daemon, DaemonError, UnixConnection
from warmlane.plan.model import Container
from warmlane.runtimes.docker_spec import Invoker, agent_config, container_config
from warmlane.runtimes.owner import owner_label
from warmlane.runtimes.protocol import Birth
from warmlane.runtimes.rundir import SOCKET, RunDirs

_POLL = 0.002
_SECONDS = 60.0


class RawError(Exception):
    """The daemon or an agent refused; nothing is measured then."""


class RawDocker:
    """The daemon at a `unix://` or `tcp://` address; each thread keeps one connection."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._local = threading.local()
        self._open: list[http.client.HTTPConnection] = []

    def call(self, method: str, path: str, body: Any = None) -> bytes:
        """One request; the body of its answer. Raises RawError."""
        connection = self._connection()
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Content-Type": "application/json"} if sent else {})
        response = connection.getresponse()
        data = response.read()
        if response.status >= 400:
            raise RawError(f"{method} {path}: {response.status} {data[:300].decode(errors='replace')}")
        return data

    def execute(self, name: str, command: list[str]) -> None:
        """What `docker exec` does: create, start, read to the end, look at the exit code. Raises RawError."""
        asked = {"Cmd": command, "AttachStdout": True, "AttachStderr": True}
        ident = json.loads(self.call("POST", f"/containers/{name}/exec", asked))["Id"]
        self.call("POST", f"/exec/{ident}/start", {"Detach": False, "Tty": False})
        if code := json.loads(self.call("GET", f"/exec/{ident}/json"))["ExitCode"]:
            raise RawError(f"{command} in {name}: exit code {code}")

    def close(self) -> None:
        """Closes the connections of all threads."""
        for connection in self._open:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        found: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if found is None:
            if self._parts.scheme == "unix":
                found = UnixConnection(self._parts.path, _SECONDS)
            else:
                found = http.client.HTTPConnection(
                    self._parts.hostname or "", self._parts.port or 2375, timeout=_SECONDS
                )
            self._local.connection = found
            self._open.append(found)
        return found


class RawBox:
    """One container. `create` comes first, `remove` last."""

    def __init__(self, docker: RawDocker, dirs: RunDirs, session_id: str, container: Container) -> None:
        self.name = f"warmlane-{session_id}-{secrets.token_hex(3)}"
        self._docker = docker
        self._dirs = dirs
        self._token = secrets.token_urlsafe(24)
        port = _free_port() if container.transport == "tcp" else None
        birth = Birth(
            name=self.name,
            container=container,
            session_id=session_id,
            owner=owner_label(),
            port=port,
            token=self._token,
        )
        run_dir = dirs.make(self.name, agent_config(birth))
        self._config = container_config(birth, run_dir, Invoker(uid=os.getuid(), gid=os.getgid()))
        self._port = port
        self._socket = str(run_dir / SOCKET)

    def create(self) -> None:
        """Create and start; its agent may not answer yet."""
        self._docker.call("POST", f"/containers/create?name={self.name}", self._config)
        self._docker.call("POST", f"/containers/{self.name}/start")

    def wait_healthy(self) -> None:
        """Asks for health every two milliseconds until it is well."""
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                return self.health()
            except (OSError, http.client.HTTPException) as error:
                if time.monotonic() > deadline:
                    raise RawError(f"{self.name} does not become healthy: {error}") from error
                time.sleep(_POLL)

    def health(self) -> None:
        """One request for health."""
        connection = self._agent()
        try:
            self._ask(connection, "GET", "/health").read()
        finally:
            connection.close()

    def pause(self) -> None:
        self._docker.call("POST", f"/containers/{self.name}/pause")

    def unpause(self) -> None:
        self._docker.call("POST", f"/containers/{self.name}/unpause")

    def execute(self, command: list[str]) -> None:
        """Runs a command in it by `docker exec`'s calls."""
        self._docker.execute(self.name, command)

    def block(self, **work: Any) -> Any:
        """Runs a block to its end, and returns its output. work: `python="module:function"` or `command=[...]`, and
        `given`. Raises RawError if it fails."""
        with self.running(**work) as (_, response):
            *_, last = response.read().splitlines()
        ended = json.loads(last)["exit"]
        if ended.get("fault"):
            raise RawError(f"a block failed: {ended}")
        return ended.get("output")

    @contextmanager
    def running(
        self, *, given: Mapping[str, Any] | None = None, **work: Any
    ) -> Iterator[tuple[str, http.client.HTTPResponse]]:
        """A block under way: the name of its run, and the answer as it comes. Leaving hangs up."""
        run = secrets.token_hex(8)
        head = {"execution_id": "raw", "block_id": "raw", "attempt": 1, "command": None, "python": None}
        head |= {"output_limit": 1 << 20, "terminate_grace": 0.5, **work}
        connection = self._agent()
        try:
            body = json.dumps(head).encode() + b"\n" + json.dumps(given or {}).encode()
            yield run, self._ask(connection, "POST", f"/blocks/{run}", body)
        finally:
            connection.close()

    def end(self, run: str) -> None:
        """Ends a run; returns when all its processes are gone."""
        connection = self._agent()
        try:
            self._ask(connection, "DELETE", f"/blocks/{run}").read()
        finally:
            connection.close()

    def remove(self) -> None:
        """Kills and removes it."""
        self._docker.call("DELETE", f"/containers/{self.name}?force=1&v=1")
        self.forget()

    def forget(self) -> None:
        """Drops its run directory; it is gone, or never was."""
        self._dirs.drop(self.name)

    def _agent(self) -> http.client.HTTPConnection:
        if self._port is None:
            return UnixConnection(self._socket, _SECONDS)
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=_SECONDS)

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
    ) -> http.client.HTTPResponse:
        connection.request(method, path, body, {"Authorization": f"Bearer {self._token}", "Connection": "close"})
        response = connection.getresponse()
        if response.status != 200:
            raise RawError(f"{method} {path}: {response.status} {response.read()[:300].decode(errors='replace')}")
        return response


class RawHost:
    """Makes raw containers, and removes those that are left."""

    def __init__(self, url: str, dirs: RunDirs, session_id: str) -> None:
        self.docker = RawDocker(url)
        self._url = url
        self._dirs = dirs
        self._session_id = session_id
        self._boxes: dict[str, RawBox] = {}

    def box(self, container: Container) -> RawBox:
        """A container that does not exist yet."""
        box = RawBox(self.docker, self._dirs, self._session_id, container)
        self._boxes[box.name] = box
        return box

    def healthy(self, container: Container) -> RawBox:
        """A container that is up and well."""
        box = self.box(container)
        box.create()
        box.wait_healthy()
        return box

    def remove(self, box: RawBox) -> None:
        """Removes it for good."""
        box.remove()
        del self._boxes[box.name]

    def clear(self) -> None:
        """Removes all that are left, over connections of their own: a measure that failed may have broken the kept."""
        daemon = Daemon(self._url)
        for box in tuple(self._boxes.values()):
            with suppress(DaemonError):  # it was never created, or is named as left behind
                daemon.remove_container(box.name)
            box.forget()


@contextmanager
def raw_host(url: str) -> Iterator[RawHost]:
    """A raw way to a daemon. When it is left, nothing that was made on it is."""
    session_id = "bench" + secrets.token_hex(3)
    dirs = RunDirs(session_id, owner_label())
    host = RawHost(url, dirs, session_id)
    try:
        yield host
    finally:
        try:
            host.clear()
        finally:
            host.docker.close()
            dirs.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
