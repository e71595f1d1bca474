"""Where the daemon is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from warmlane.errors import RuntimeUnavailableError
from warmlane.runtimes.docker_address import docker_address


@pytest.mark.parametrize(
    ("text", "path", "host", "port"),
    [
        ("unix:///tmp/d.sock", "/tmp/d.sock", "", 0),
        ("tcp://127.0.0.1:2376", None, "127.0.0.1", 2376),
        ("tcp://localhost", None, "localhost", 2375),
        ("tcp://[::1]:5", None, "::1", 5),
    ],
)
def test_docker_host_names_a_socket_or_a_port_of_this_machine(
    text: str, path: str | None, host: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", text)
    address = docker_address()
    assert (address.path, address.host, address.port) == (path, host, port)


@pytest.mark.parametrize(
    "text",
    [
        "ssh://me@there",
        "tcp://10.0.0.7:2375",
        "npipe:////./pipe/docker",
        "unix://",
        "x",
        "tcp://127.0.0.1:x",
        "tcp://[",
    ],
)
def test_any_other_docker_host_is_refused_in_a_sentence(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", text)
    with pytest.raises(RuntimeUnavailableError, match="only a daemon on this machine will do; set it to") as caught:
        docker_address()
    assert "start Docker" not in str(caught.value)


def test_without_docker_host_the_default_socket_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("warmlane.runtimes.docker_address._DEFAULT_SOCKET", str(tmp_path / "system.sock"))
    assert docker_address().path == str(tmp_path / "system.sock")
    (tmp_path / "docker.sock").touch()
    assert docker_address().path == str(tmp_path / "docker.sock"), "only the rootless daemon is there"
    (tmp_path / "system.sock").touch()
    assert docker_address().path == str(tmp_path / "system.sock")
