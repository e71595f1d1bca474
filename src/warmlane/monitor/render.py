"""A picture of a session as something that rich can print. Pure: the same picture always looks the same.

All text is put in as text, never as markup, and foreign text through `visible`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from warmlane.monitor.plain import counted, duration, number_of, progress, started_by
from warmlane.monitor.view import BlockView, ExecutionView, Message, View
from warmlane.terminal import visible

_MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "waiting": ("·", "dim"),
    "running": ("▶", "cyan"),
    "succeeded": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("-", "dim"),
    "completed": ("✓", "green"),
    "aborted": ("✗", "yellow"),
}
_STATES: Final[Mapping[str, str]] = {
    "starting": "yellow",
    "idle": "green",
    "running": "cyan",
    "dormant": "blue",
    "terminated": "dim",
    "quarantined": "red",
}
_EXECUTIONS, _BLOCKS, _CONTAINERS, _LOG_LINES = 3, 24, 16, 6
_WIDE: Final = 100
"""Columns from which on there is room for image and port of a container."""


def render(view: View, width: int, now: float | None = None) -> RenderableType:
    """The picture for a terminal of `width` columns: session and pool, the newest executions, containers, last log
    lines. The long parts are cut, and say so. With `now`, in seconds since the epoch, it says how long blocks run."""
    parts: list[RenderableType] = [_session(view)]
    parts += [_pull(pull) for pull in view.pulls.values()]
    for execution in list(view.executions.values())[-_EXECUTIONS:]:
        parts += _execution(execution, now)
    if view.containers:
        parts.append(_containers(view, width))
    parts += [_log(view, width)] if view.log else []
    return Group(*parts)


def _session(view: View) -> Text:
    """The pool in one line."""
    line = Text(f"session {visible(view.session_id or '?')} on {visible(view.runtime or '?')}", style="bold")
    line.append(f"  containers: {counted(view.counts)}", style="not bold")
    if view.max_containers is not None:
        line.append(f" (at most {view.max_containers})", style="not bold")
    if view.waiting:
        line.append(f", {view.waiting} waiting", style="not bold yellow")
    if (share := view.stats.get("readyShare")) is not None:
        line.append(f"  {share:.0%} found ready", style="not bold")
    if view.lost:
        line.append(f"  {number_of(view.lost, 'event')} missed", style="not bold red")
    return line


def _pull(pull: Message) -> Text:
    return Text(f"image {visible(pull['image'])}: {visible(pull['status'])}{progress(pull)}", style="yellow")


def _execution(execution: ExecutionView, now: float | None) -> Iterator[RenderableType]:
    mark, style = _MARKS[execution.status]
    took = f" in {duration(execution.duration)}" if execution.duration is not None else ""
    name = visible(execution.plan_name or "a plan that began before we watched")
    yield Text(f"\n{mark} {name} [{visible(execution.id)}] {execution.status}{took}", style=f"bold {style}")
    table = Table.grid(padding=(0, 2))
    table.add_column("lane", justify="right", style="dim")
    for name in ("block", "status", "took"):
        table.add_column(name, no_wrap=True)
    table.add_column("how", ratio=1)
    rows = list(_rows(execution))
    for lane, block in rows[:_BLOCKS]:
        table.add_row(lane, *_block(block, now))
    yield table
    if len(rows) > _BLOCKS:
        yield Text(f"... and {len(rows) - _BLOCKS} more blocks", style="dim")


def _rows(execution: ExecutionView) -> Iterator[tuple[str, BlockView]]:
    """Every block, with the number of its lane at its first one; last those whose lane is not known."""
    placed: set[str] = set()
    for number, lane in enumerate(execution.lanes):
        for index, block_id in enumerate(lane):
            placed.add(block_id)
            yield (str(number) if index == 0 else "", execution.blocks[block_id])
    for block in execution.blocks.values():
        if block.id not in placed:
            yield "?", block


def _block(block: BlockView, now: float | None) -> tuple[Text, Text, Text, Text]:
    mark, style = _MARKS[block.status]
    how = started_by(block.start) if block.start is not None else ""
    if block.attempt > 1:
        how += f", attempt {block.attempt}"
    if block.reason is not None:
        said = f"{visible(block.reason)}: {visible(block.error or '')}".removesuffix(": ")
        how = f"{said} ({how})" if how else said
    took = duration(block.duration) if block.duration is not None else _running_for(block, now)
    return Text(f"{mark} {visible(block.id)}", style), Text(block.status, style), Text(took), Text(how)


def _running_for(block: BlockView, now: float | None) -> str:
    """In whole seconds, for it is out of date at once."""
    if block.status != "running" or block.since is None or now is None:
        return ""
    return f"{max(0, now - datetime.fromisoformat(block.since).timestamp()):.0f} s"


def _containers(view: View, width: int) -> RenderableType:
    wide = width >= _WIDE
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for name in ("container", "state", "block", *(("image", "port") if wide else ()), "since", "uses"):
        table.add_column(name, no_wrap=True)
    records = list(view.containers.values())
    for record in records[:_CONTAINERS]:
        more = (visible(record["image"] or ""), str(record["port"] or "")) if wide else ()
        cells = (visible(record["blockId"] or ""), *more)
        table.add_row(
            Text(visible(record["name"])),
            _state(record),
            *(Text(cell) for cell in cells),
            Text(record["since"][11:19]),
            Text(str(record["uses"])),
        )
    if len(records) > _CONTAINERS:
        table.add_row(Text(f"... and {len(records) - _CONTAINERS} more", style="dim"))
    return Group(Text(""), table)


def _state(record: Message) -> Text:
    """The state, and the exact phase where that says more."""
    state, phase = visible(record["state"]), visible(record["phase"])
    return Text(state if phase == state else f"{state} ({phase})", style=_STATES.get(state, ""))


def _log(view: View, width: int) -> RenderableType:
    lines = list(view.log)[-_LOG_LINES:]
    text = Text("\n", no_wrap=True, overflow="ellipsis")
    for number, line in enumerate(lines):
        text.append("\n" if number else "")
        text.append(f"{visible(line.block_id)} ", style="dim")
        text.append(visible(line.text[:width]), style="red" if line.stream == "stderr" else "")
    return text
