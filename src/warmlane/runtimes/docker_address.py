"""Where the Docker daemon listens. Only daemons on this machine: run directories and ports are this machine's."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import trio
from attrs import frozen

from warmlane.errors import RuntimeUnavailableError

_DEFAULT_SOCKET = "/var/run/docker.sock"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@frozen
class DockerAddress:
    """A unix socket (`path`), or a port of the loopback interface."""

    text: str
    """As DOCKER_HOST says it, for messages."""
    path: str | None = None
    host: str = ""
    port: int = 0

    async def connect(self) -> trio.SocketStream:
        """Opens a connection for a task. Raises OSError."""
        if self.path is not None:
            return await trio.open_unix_socket(self.path)
        return await trio.open_tcp_stream(self.host, self.port)

    def dial(self, seconds: float | None, register: Callable[[socket.socket], None]) -> socket.socket:
        """Opens a connection for a thread; `register` is given the socket before anything on it can block."""
        if self.path is not None:
            family, target = socket.AF_UNIX, self.path
        else:
            family, _, _, _, target = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]  # type: ignore[assignment]  # a path or a pair
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            register(connection)
            connection.settimeout(seconds)
            connection.connect(target)
        except BaseException:  # whatever it was, nobody else knows this socket
            connection.close()
            raise
        return connection


def docker_address() -> DockerAddress:
    """What DOCKER_HOST says, or the default socket (a rootless daemon's, if only that one is there).

    Raises RuntimeUnavailableError if DOCKER_HOST is of a kind that is not spoken.
    """
    text = os.environ.get("DOCKER_HOST") or f"unix://{_default_socket()}"
    with suppress(ValueError):  # no port, or no host, that could be one
        url = urlsplit(text)
        if url.scheme == "unix" and url.path:
            return DockerAddress(text, path=url.netloc + url.path)
        if url.scheme == "tcp" and url.hostname in _LOOPBACK:
            return DockerAddress(text, host=url.hostname, port=url.port or 2375)
    will_do = "only a daemon on this machine will do; set it to 'unix:///…' or 'tcp://127.0.0.1:…'"
    raise RuntimeUnavailableError("docker", f"DOCKER_HOST is '{text}', but {will_do}")


def _default_socket() -> str:
    rootless = Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent"), "docker.sock")
    return str(rootless) if rootless.exists() and not Path(_DEFAULT_SOCKET).exists() else _DEFAULT_SOCKET
