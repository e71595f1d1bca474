"""The end of what a container's first process printed, read without a thread."""

from __future__ import annotations

from warmlane.errors import ContainerLostError, RuntimeRefusedError
from warmlane.runtimes.docker_address import DockerAddress
from warmlane.runtimes.docker_http import ask

_TAIL = 4096  # bytes
_LINES = 64  # that the daemon is asked for; more would not fit
_HEADER = 8  # bytes before each frame: the stream, three zeros, the length


async def read_tail(address: DockerAddress, version: str, name: str) -> str:
    """Some 4 KiB, stdout and stderr as they came; empty if there is none. Not UTF-8 shows as `\\xNN`.

    Raises ContainerLostError if there is no such container.
    """
    target = f"/v{version}/containers/{name}/logs?stdout=1&stderr=1&tail={_LINES}"
    async with ask(address, "read the log of a container", target) as answer:
        if answer.status != 200:
            said = (await answer.json()).get("message", f"the daemon answered {answer.status}")
            if answer.status == 404:
                raise ContainerLostError(name, said)
            raise RuntimeRefusedError("read the log of a container", said, status=answer.status)
        raw = bytearray()
        tail = b""
        while piece := await answer.piece():
            raw += piece
            tail = (tail + _frames(raw))[-_TAIL:]
        return tail.decode(errors="backslashreplace")


def _frames(raw: bytearray) -> bytes:
    """Takes the complete frames out of `raw`, and returns what they hold."""
    held = b""
    while len(raw) >= _HEADER:
        end = _HEADER + int.from_bytes(raw[4:_HEADER], "big")
        if len(raw) < end:
            break
        held += raw[_HEADER:end]
        del raw[:end]
    return held
