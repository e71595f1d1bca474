"""The workflow document as Python objects. No Trio, no I/O.

Everyone who runs or shows a plan works on these classes; `read.py` makes them from a document, `check.py` says
what is wrong with one. Durations are seconds here and milliseconds in the document (`wire.py` has the names).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from attrs import Factory, evolve, field, frozen

from warmlane.wire import SECONDS, encode, to_wire

FailureMode = Literal["strict", "lenient"]
ParallelismModel = Literal["multi-container", "single-container"]
Transport = Literal["tcp", "unix"]
InputType = Literal["string", "number", "integer", "boolean", "array", "object"]

REQUIRED: Any = ...
"""The default of an input that has none: the caller has to give it."""


@frozen(kw_only=True)
class Input:
    """A value that the caller of a run may give, or must if it has no default."""

    type: InputType = "string"
    default: Any = REQUIRED
    description: str | None = None


@frozen(kw_only=True)
class Workspace:
    """A folder of the host that blocks find at `WARMLANE_WORKSPACE`. Read-only unless `mode` is `rw`."""

    path: str
    mode: Literal["ro", "rw"] = "ro"


@frozen(kw_only=True)
class Container:
    """What a block's container is made from. None means: not said here.

    `port` says that the image brings its own HTTP server on that port: its blocks are `request` blocks, and of the
    server only `GET /health` is asked.
    """

    image: str | None = None
    env: Mapping[str, str] = Factory(dict)
    user: str | None = None
    workspace: Workspace | None = None
    transport: Transport | None = None
    port: int | None = None

    def over(self, base: Container) -> Container:
        """This one, with what it does not say taken from `base`; environments are merged."""
        return Container(
            image=self.image or base.image,
            env={**base.env, **self.env},
            user=self.user or base.user,
            workspace=self.workspace or base.workspace,
            transport=self.transport or base.transport,
            port=self.port or base.port,
        )

    @property
    def key(self) -> str:
        """Equal for containers that can stand in for each other, whatever the order of their environment."""
        document = to_wire(evolve(self, env=dict(sorted(self.env.items()))))
        return hashlib.sha256(encode(document).encode()).hexdigest()[:12]


@frozen(kw_only=True)
class Request:
    """An HTTP request to the image's own service. `body` is sent as JSON; status 400 and above is a failure."""

    method: str = "GET"
    path: str = "/"
    headers: Mapping[str, str] = Factory(dict)
    body: Any = None


def _words(value: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


@frozen(kw_only=True)
class Block:
    """One unit of work: exactly one of `command` (argv), `python` (`module:function`) and `request`."""

    command: tuple[str, ...] | None = field(default=None, converter=_words)
    python: str | None = None
    request: Request | None = None
    input: Mapping[str, Any] = Factory(dict)
    from_: Mapping[str, str] = Factory(dict)
    timeout: float | None = field(default=None, metadata=SECONDS)
    container: Container = Container()


@frozen(kw_only=True)
class ParallelLane:
    """Blocks that run at the same time. `failure_mode` None means: as the plan says."""

    blocks: tuple[str, ...] = field(converter=tuple[str, ...])
    failure_mode: FailureMode | None = None


def _lanes(value: Iterable[str | ParallelLane]) -> tuple[ParallelLane, ...]:
    return tuple(ParallelLane(blocks=(lane,)) if isinstance(lane, str) else lane for lane in value)


@frozen(kw_only=True)
class WorkflowPlan:
    """A whole workflow. Made by hand, it is checked when it is run; made by `read_plan`, when it is read."""

    name: str
    blocks: Mapping[str, Block]
    lanes: tuple[ParallelLane, ...] = field(converter=_lanes)
    inputs: Mapping[str, Input] = Factory(dict)
    container: Container = Container()
    failure_mode: FailureMode = "strict"
    parallelism_model: ParallelismModel = "multi-container"
    max_containers: int = 10
    dormancy_timeout: float = field(default=300.0, metadata=SECONDS)
    timeout: float | None = field(default=None, metadata=SECONDS)

    def container_of(self, block_id: str) -> Container:
        """What the block's container is made from: its own words over the plan's, transport `tcp` if none says."""
        return self.blocks[block_id].container.over(self.container).over(Container(transport="tcp"))

    def failure_mode_of(self, lane: ParallelLane) -> FailureMode:
        """The lane's own mode, or the plan's."""
        return lane.failure_mode or self.failure_mode
