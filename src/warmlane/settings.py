"""What the owner of a session may set: one class, given at the door. No other place reads configuration.

All durations are seconds.
"""

from __future__ import annotations

from attrs import Attribute, field, frozen


@frozen(kw_only=True)
class Graces:
    """How long we are patient, by what we wait for. Every clean-up is shielded and bounded by one of these."""

    terminate: float = 0.5
    """Between SIGTERM and SIGKILL of a block that is being ended."""
    settle: float = 3.0
    """For an agent's word that a block's last process is gone; after it the container is killed."""
    remove: float = 15.0
    """For the runtime's word that a container is gone; after it the container is QUARANTINED."""
    pull: float = 60.0
    """For the next word of a pull, and of a look for an image; after it the host counts as silent."""
    birth: float = 60.0
    """For the host to create and start a container, its place in the host's line included; after it, it is silent."""
    health: float = 30.0
    """For the first healthy answer of a started container."""
    wake: float = 10.0
    """For a frozen container to thaw and answer; after it, another one takes its place."""


def _at_least_one(_settings: object, attribute: Attribute[int], value: int) -> None:
    if value < 1:
        raise ValueError(f"{attribute.name} must be at least 1")


@frozen(kw_only=True)
class Settings:
    """The pool of one session."""

    max_containers: int = field(default=10, validator=_at_least_one)
    """At most this many containers exist at once, in any state."""
    ports: range = range(9100, 9200)
    """The host ports, all on 127.0.0.1, that `tcp` containers may get."""
    pause_grace: float = 0.25
    """How long a container cools after its block before it is paused."""
    output_limit: int = 16 * 1024 * 1024
    """The largest JSON output of a block, in bytes."""
    graces: Graces = Graces()
