"""The workflow document as Python objects. No Trio, and no I/O but to ask for the current folder.

Everyone who runs or shows a plan works on these classes; `read.py` makes them from a document, `check.py` says
what is wrong with one, `schema.py` says the same to an editor. All three read the types below: an `Annotated` type
carries the rule that its values keep (`words.py`) and the sentence that the schema shows, which adds the unit.
Durations are seconds here and milliseconds in the document (`wire.py` has the names).

A class never refuses a wrong value by itself: a plan made by hand is checked as a whole, so that its author sees
every problem at once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, cast

from attrs import Factory, evolve, field, frozen

from warmlane.plan.words import (
    AT_MOST_500,
    NOT_EMPTY_LIST,
    NOT_EMPTY_OBJECT,
    Argument,
    BlockId,
    Count,
    Deadline,
    EnvName,
    Expression,
    FolderPath,
    FunctionName,
    HeaderName,
    HeaderValue,
    ImageName,
    InputName,
    Method,
    PlanName,
    Port,
    Text,
    UrlPath,
    UserName,
    Wait,
)
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

    type: Annotated[InputType, "What the value must be."] = "string"
    default: Annotated[Any, "The value if none is given; without a default, one must be given."] = REQUIRED
    description: Annotated[str | None, "A sentence for those who run the plan."] = None


def _absolute(path: str | os.PathLike[str]) -> str:
    # An empty path is not the current folder but a slip, and the check says so.
    given: Any = path
    return os.path.abspath(path) if isinstance(given, str | os.PathLike) and path != "" else cast("str", given)


@frozen(kw_only=True)
class Workspace:
    """A folder of the host that blocks find at `WARMLANE_WORKSPACE`. Read-only unless `mode` is `rw`.

    A relative path is made absolute at once, from the current folder (from the plan's own, where it was read).
    """

    path: Annotated[FolderPath, "The folder; a relative path is taken from the folder of the plan."] = field(
        converter=_absolute
    )
    mode: Annotated[Literal["ro", "rw"], "May blocks write to it?"] = "ro"


@frozen(kw_only=True)
class Container:
    """What a block's container is made from. None means: not said here.

    Without `user`, blocks run as the user who runs Warmlane; if that is root, as nobody (65534), unless the workspace
    is `rw`. An image's own server keeps the user that the image names, unless that is root.

    `port` says that the image brings its own HTTP server on that port: its blocks are `request` blocks, and of the
    server only `GET /health` is asked.
    """

    image: Annotated[ImageName | None, "The image; local processes do without."] = None
    env: Annotated[
        Mapping[EnvName, Text], AT_MOST_500, "Environment variables; a block's are merged over the plan's."
    ] = Factory(dict[str, str])
    user: Annotated[
        UserName | None,
        "The user that blocks run as. If not said: yours; nobody, if you are root and no workspace is 'rw'; for an"
        " image's own server the one that the image names, unless that is root.",
    ] = None
    workspace: Annotated[Workspace | None, "A folder of the host that blocks find at WARMLANE_WORKSPACE."] = None
    transport: Annotated[
        Transport | None, "How the agent is reached: 'tcp' by a published port, 'unix' without any network."
    ] = None
    port: Annotated[Port | None, "The port of the image's own HTTP server, for 'request' blocks."] = None

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

    @cached_property
    def key(self) -> str:
        """Equal for containers that can stand in for each other, whatever the order of their environment."""
        document = to_wire(evolve(self, env=dict(sorted(self.env.items()))))
        return hashlib.sha256(encode(document).encode()).hexdigest()[:12]


_SILENT = Container()


@frozen(kw_only=True)
class Request:
    """An HTTP request to the image's own service. `body` is sent as JSON; status 400 and above is a failure."""

    method: Annotated[Method, "The HTTP method."] = "GET"
    path: Annotated[UrlPath, "Path and query."] = "/"
    headers: Annotated[Mapping[HeaderName, HeaderValue], "Headers of the request."] = Factory(dict[str, str])
    body: Annotated[Any, "Sent as JSON."] = None


def _words(value: Sequence[str] | None) -> tuple[str, ...] | None:
    # Only a list: a string is no list of its letters, and the check says so.
    return tuple(value) if isinstance(value, list) else cast("tuple[str, ...] | None", value)


@frozen(kw_only=True)
class Block:
    """One unit of work: exactly one of `command` (argv), `python` (`module:function`) and `request`.

    `timeout` is in seconds (a document says `timeoutMs`): the block is then ended, and has failed. None: no limit.
    """

    command: Annotated[tuple[Argument, ...] | None, NOT_EMPTY_LIST, "A program and its arguments."] = field(
        default=None, converter=_words
    )
    python: Annotated[FunctionName | None, "A function of a module in the workspace or the image."] = None
    request: Annotated[Request | None, "A request to the image's own service."] = None
    input: Annotated[Mapping[str, Any], "Constants, merged on top of what the block gets."] = Factory(dict[str, Any])
    from_: Annotated[
        Mapping[str, Expression], "What the block gets: JMESPath over 'inputs' and the outputs of earlier blocks."
    ] = Factory(dict[str, str])
    timeout: Annotated[Deadline | None, "After so long the block is ended, and has failed."] = field(
        default=None, metadata=SECONDS
    )
    container: Annotated[Container, "This block's own words, over the plan's."] = Container()


def _block_ids(value: Sequence[str]) -> tuple[str, ...]:
    return cast("tuple[str, ...]", _words(value))


@frozen(kw_only=True)
class ParallelLane:
    """Blocks that run at the same time. `failure_mode` None means: as the plan says."""

    blocks: Annotated[tuple[BlockId, ...], NOT_EMPTY_LIST, "Ids of blocks, in the order of their results."] = field(
        converter=_block_ids
    )
    failure_mode: Annotated[FailureMode | None, "Overrides the plan's."] = None


def _lanes(value: Sequence[str | ParallelLane]) -> tuple[ParallelLane, ...]:
    given: object = value
    if not isinstance(given, list | tuple):
        return cast("tuple[ParallelLane, ...]", given)
    return tuple(ParallelLane(blocks=(lane,)) if isinstance(lane, str) else lane for lane in value)


@frozen(kw_only=True)
class WorkflowPlan:
    """A whole workflow. Made by hand, it is checked when it is run; made by `read_plan`, when it is read.

    `lanes` takes a block id for a lane of one block. `timeout` (of a whole run; None: no limit) and `dormancy_timeout`
    are in seconds (a document says `timeoutMs` and `dormancyTimeoutMs`).
    """

    name: Annotated[PlanName, "What the plan is called."]
    blocks: Annotated[Mapping[BlockId, Block], NOT_EMPTY_OBJECT, "The blocks, by id."]
    lanes: Annotated[tuple[ParallelLane, ...], NOT_EMPTY_LIST, "The lanes, one after the other."] = field(
        converter=_lanes
    )
    inputs: Annotated[Mapping[InputName, Input], "What the caller may give."] = Factory(dict[str, Input])
    container: Annotated[Container, "What all blocks' containers are made from."] = Container()
    failure_mode: Annotated[
        FailureMode, "strict: the first failure ends the run. lenient: all outcomes are collected, and the run goes on."
    ] = "strict"
    parallelism_model: Annotated[ParallelismModel, "A container for each block, or one for all blocks of a lane."] = (
        "multi-container"
    )
    max_containers: Annotated[Count, "At most this many containers at once."] = 10
    dormancy_timeout: Annotated[Wait, "A container that has been dormant for so long is removed."] = field(
        default=300.0, metadata=SECONDS
    )
    timeout: Annotated[Deadline | None, "After so long the run is ended, and has failed."] = field(
        default=None, metadata=SECONDS
    )

    def container_of(self, block_id: str) -> Container:
        """What the block's container is made from: its own words over the plan's, transport `tcp` if none says."""
        own = self.blocks[block_id].container
        # Most blocks say nothing, and share one: a specification is hashed once, not once for each block.
        return self._shared_container if own == _SILENT else own.over(self._shared_container)

    @cached_property
    def _shared_container(self) -> Container:
        return self.container.over(Container(transport="tcp"))

    def failure_mode_of(self, lane: ParallelLane) -> FailureMode:
        """The lane's own mode, or the plan's."""
        return lane.failure_mode or self.failure_mode
