"""The few calls that the tools make to a Docker daemon, over its socket, with the standard library alone.

Every call has a deadline: nothing here waits for ever on a daemon that has stopped answering.
"""

import http.client
import json
import os
import socket
from collections.abc import Iterable
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

DEFAULT_URL = "unix:///var/run/docker.sock"


class DaemonError(Exception):
    """The daemon is not there, or refused what was asked."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket; `timeout` is in seconds."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def configured_url() -> str:
    """The daemon that the environment names: DOCKER_HOST, or the default socket."""
    return os.environ.get("DOCKER_HOST") or DEFAULT_URL


class Daemon:
    """A Docker daemon at a `unix://` or `tcp://` address."""

    def __init__(self, url: str) -> None:
        self.url = url

    def answers(self) -> bool:
        """Whether the daemon is there and ready."""
        try:
            self._call("GET", "/_ping", seconds=5)
        except DaemonError:
            return False
        return True

    def label(self, image: str, name: str) -> str | None:
        """A label of an image; None when there is no such image, or no such label."""
        try:
            found = self._call("GET", f"/images/{quote(image)}/json")
        except DaemonError:
            return None
        labels = json.loads(found)["Config"].get("Labels") or {}
        return labels.get(name)

    def has_image(self, image: str) -> bool:
        """Whether the daemon can start containers of this image without pulling it."""
        try:
            self._call("GET", f"/images/{quote(image)}/json")
        except DaemonError:
            return False
        return True

    def import_image(self, tag: str, archive: IO[bytes], changes: Iterable[str]) -> None:
        """Make an image out of a root file system."""
        name, _, version = tag.rpartition(":")
        query = [("fromSrc", "-"), ("repo", name), ("tag", version), *(("changes", line) for line in changes)]
        answer = self._call("POST", f"/images/create?{urlencode(query)}", body=archive, seconds=120)
        for line in answer.splitlines():
            if "error" in (report := json.loads(line)):
                raise DaemonError(f"importing {tag}: {report['error']}")

    def tag_image(self, image: str, tag: str) -> None:
        """Give an image a further name."""
        name, _, version = tag.rpartition(":")
        self._call("POST", f"/images/{quote(image)}/tag?{urlencode({'repo': name, 'tag': version})}")

    def containers(self, label: str | None = None) -> list[dict[str, Any]]:
        """All containers, running or not, as the daemon describes them; with a label, only those that carry it."""
        query = {"all": "1"} | ({"filters": json.dumps({"label": [label]})} if label else {})
        found: list[dict[str, Any]] = json.loads(self._call("GET", f"/containers/json?{urlencode(query)}"))
        return found

    def remove_container(self, container: str) -> None:
        """Kill and remove a container."""
        self._call("DELETE", f"/containers/{quote(container)}?force=1&v=1", seconds=30)

    def _call(self, method: str, path: str, *, body: IO[bytes] | None = None, seconds: float = 15) -> bytes:
        connection = self._connection(seconds)
        try:
            headers = {"Content-Type": "application/x-tar"} if body else {}
            connection.request(method, path, body=body, headers=headers, encode_chunked=body is not None)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise DaemonError(f"the Docker daemon at {self.url} does not answer: {error}") from error
        finally:
            connection.close()
        if response.status >= 400:
            asked = f"{method} {path.partition('?')[0]}"
            raise DaemonError(f"the Docker daemon at {self.url} refused {asked}: {_reason(answer)}")
        return answer

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            return UnixConnection(parts.path, seconds)
        if parts.scheme == "tcp" and parts.hostname:
            return http.client.HTTPConnection(parts.hostname, parts.port or 2375, timeout=seconds)
        raise DaemonError(f"cannot talk to a Docker daemon at {self.url!r}: expected unix:///path or tcp://host:port")


def _reason(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        return answer.decode(errors="replace").strip()
