"""Whether a Docker daemon is there, and which version of its API to speak.

Needs no docker-py, so that `auto` can ask at little cost.
"""

from __future__ import annotations

from json import JSONDecodeError

import trio

from warmlane.errors import RuntimeSilentError, RuntimeUnavailableError
from warmlane.runtimes.docker_address import DockerAddress, docker_address
from warmlane.runtimes.docker_http import ask

_API = (1, 41)  # Docker 20.10; everything that is used is in it
_HELLO = 5.0  # seconds for a daemon to say hello


async def hail(address: DockerAddress) -> str:
    """The API version to speak with the daemon: 1.41, or the oldest that it still speaks if that is newer."""
    said = f"nothing answered at {address.text} within {_HELLO:g} seconds; see whether its daemon is well"
    with trio.move_on_after(_HELLO):
        try:
            async with ask(address, "say hello", "/version") as answer:
                about = await answer.json()
            newest, oldest = _number(about["ApiVersion"]), _number(about.get("MinAPIVersion", "1.12"))
        except RuntimeSilentError as error:
            if isinstance(error.__cause__, PermissionError):
                said = f"this user may not use {address.text}; join the group that owns it"
            else:
                said = f"nothing answers at {address.text} ({error.said}); start Docker, or point DOCKER_HOST to it"
        except (JSONDecodeError, KeyError, TypeError, ValueError):
            said = f"what answers at {address.text} is not a Docker daemon; point DOCKER_HOST to one"
        else:
            if newest >= _API:
                return ".".join(map(str, max(_API, oldest)))
            said = (
                f"the daemon at {address.text} speaks API {about['ApiVersion']}; at least 1.41 (Docker 20.10) is needed"
            )
    raise RuntimeUnavailableError("docker", said)


async def why_not_docker() -> str | None:
    """None if a daemon answers; else why not, as a clause."""
    try:
        await hail(docker_address())
    except RuntimeUnavailableError as error:
        return error.said
    return None


def _number(version: str) -> tuple[int, int]:
    major, minor = version.split(".")
    return int(major), int(minor)
