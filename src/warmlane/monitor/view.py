"""A picture of a session, kept up to date by the messages of its monitor.

Pure: `apply` takes a message and changes the picture; no I/O, no clock. It can begin anywhere in a session, and says
what it does not know as None. What grows with a session is bounded here. The picture holds foreign text as it came;
whoever shows it passes it through `terminal.visible`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import Factory, define

Message = Mapping[str, Any]

KEEP_EXECUTIONS: Final = 20
KEEP_LOG_LINES: Final = 200


@define
class BlockView:
    """One block of an execution. `status` is `waiting`, `running`, or how it ended. Durations are in ms, `since` (when
    it was started last) is ISO 8601."""

    id: str
    status: str = "waiting"
    container_id: str | None = None
    attempt: int = 0
    since: str | None = None
    start: Message | None = None
    duration: float | None = None
    reason: str | None = None
    error: str | None = None


@define
class ExecutionView:
    """One execution. `status` is `running`, or how it ended; `lanes` holds the ids of the blocks, as far as known."""

    id: str
    plan_name: str | None = None
    status: str = "running"
    lanes: list[list[str]] = Factory(list[list[str]])
    blocks: dict[str, BlockView] = Factory(dict[str, BlockView])
    duration: float | None = None

    def block(self, block_id: str) -> BlockView:
        """The block of that id, made if this is the first that is heard of it."""
        return self.blocks.setdefault(block_id, BlockView(block_id))

    def place(self, lane: int, block_ids: Sequence[str]) -> None:
        """Takes in that these blocks are in that lane."""
        self.lanes.extend([] for _ in range(len(self.lanes), lane + 1))
        known = self.lanes[lane]
        known.extend(block_id for block_id in block_ids if block_id not in known)
        for block_id in block_ids:
            self.block(block_id)


@define
class LogLine:
    """One line that a block printed."""

    block_id: str
    stream: str
    text: str


@define
class View:
    """The whole picture. `containers` are records as the monitor sends them, by id; `stats` as in a pool snapshot."""

    session_id: str | None = None
    runtime: str | None = None
    seq: int = 0
    lost: int = 0
    revision: int = -1
    containers: dict[str, Message] = Factory(dict[str, Message])
    counts: Mapping[str, int] = Factory(dict[str, int])
    max_containers: int | None = None
    waiting: int = 0
    stats: Message = Factory(dict[str, Any])
    executions: dict[str, ExecutionView] = Factory(dict[str, ExecutionView])
    log: deque[LogLine] = Factory(lambda: deque(maxlen=KEEP_LOG_LINES))
    pulls: dict[str, Message] = Factory(dict[str, Message])

    def apply(self, message: Message) -> None:
        """Takes in one message. Channels that are not known here are passed over."""
        take = _TAKERS.get(message["channel"])
        if take is not None:
            take(self, message["payload"], message)
        self.seq = message["seq"]

    def forget(self) -> None:
        """Begins a new picture: what comes next is of another session."""
        self.lost, self.revision = 0, -1
        self.containers, self.executions, self.pulls = {}, {}, {}
        self.log.clear()

    def execution(self, execution_id: str) -> ExecutionView:
        """The execution of that id, made if this is the first that is heard of it; the oldest ended one makes room."""
        if execution_id not in self.executions:
            ended = [known.id for known in self.executions.values() if known.status != "running"]
            for old in ended[: max(0, len(self.executions) + 1 - KEEP_EXECUTIONS)]:
                del self.executions[old]
            self.executions[execution_id] = ExecutionView(execution_id)
        return self.executions[execution_id]


def _hello(view: View, payload: Message, message: Message) -> None:
    if payload["sessionId"] != view.session_id:
        view.forget()
    view.session_id, view.runtime = payload["sessionId"], payload["runtime"]
    _pool(view, payload["pool"], message)


def _pool(view: View, payload: Message, _message: Message) -> None:
    """A monitor may send a new snapshot before older ones that it still owes; the newest stays."""
    if payload["revision"] < view.revision:
        return
    view.revision = payload["revision"]
    view.containers = {record["id"]: record for record in payload["containers"]}
    view.counts, view.stats = payload["counts"], payload["stats"]
    view.max_containers, view.waiting = payload["maxContainers"], payload["waiting"]


def _lost(view: View, payload: Message, _message: Message) -> None:
    view.lost += payload["count"]


def _started(view: View, payload: Message, message: Message) -> None:
    execution = view.execution(message["executionId"])
    execution.plan_name = payload["planName"]
    for lane, block_ids in enumerate(payload["lanes"]):
        execution.place(lane, block_ids)


def _lane_started(view: View, payload: Message, message: Message) -> None:
    view.execution(message["executionId"]).place(payload["lane"], payload["blockIds"])


def _block_started(view: View, payload: Message, message: Message) -> None:
    execution = view.execution(message["executionId"])
    execution.place(payload["lane"], [payload["blockId"]])
    block = execution.block(payload["blockId"])
    block.status, block.attempt, block.since = "running", payload["attempt"], message["at"]
    block.container_id, block.start = payload["containerId"], payload["start"]


def _log(view: View, payload: Message, _message: Message) -> None:
    view.log.append(LogLine(payload["blockId"], payload["stream"], payload["text"]))


def _block_ended(view: View, payload: Message, message: Message) -> None:
    _settle(view.execution(message["executionId"]), payload)


def _settle(execution: ExecutionView, result: Message) -> None:
    block = execution.block(result["blockId"])
    block.status, block.duration, block.attempt = result["status"], result["durationMs"], result["attempts"]
    block.reason, block.error = result["reason"], result["error"]
    block.container_id, block.start = result["containerId"], result["start"]


def _lane_ended(view: View, payload: Message, message: Message) -> None:
    execution = view.execution(message["executionId"])
    execution.place(payload["lane"], [result["blockId"] for result in payload["results"]])
    for result in payload["results"]:
        _settle(execution, result)


def _ended(view: View, payload: Message, message: Message) -> None:
    execution = view.execution(message["executionId"])
    execution.status, execution.duration = payload["status"], payload["durationMs"]
    for result in payload["results"]:
        _settle(execution, result)


def _pull(view: View, payload: Message, _message: Message) -> None:
    view.pulls[payload["image"]] = payload
    if payload["status"] == "complete":
        del view.pulls[payload["image"]]


_TAKERS: Final[Mapping[str, Callable[[View, Message, Message], None]]] = {
    "monitor:hello": _hello,
    "monitor:lost": _lost,
    "execution:pool-status": _pool,
    "execution:started": _started,
    "execution:lane-start": _lane_started,
    "execution:block-start": _block_started,
    "execution:block-log": _log,
    "execution:block-complete": _block_ended,
    "execution:lane-complete": _lane_ended,
    "execution:complete": _ended,
    "execution:aborted": _ended,
    "container:pull-progress": _pull,
}
