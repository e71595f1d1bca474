"""An output stream that is full, gone or slow does not hold up the loop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import pytest
import trio
import trio.testing

from warmlane.cli.outlet import Outlet
from warmlane.cli.stdout import is_gone


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe; a test may have closed them."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


async def test_what_is_put_comes_out_whole_and_in_order(pipe: tuple[int, int], nursery: trio.Nursery) -> None:
    read, write = pipe
    outlet = Outlet(write)
    nursery.start_soon(outlet.pump)
    text = "".join(f"{number} ä\n" for number in range(100_000))
    for start in range(0, len(text), 1000):
        outlet.put(text[start : start + 1000])
    expected, found = text.encode(), bytearray()
    while len(found) < len(expected):
        found += await trio.to_thread.run_sync(os.read, read, 1 << 20)
    await outlet.flush()
    assert bytes(found) == expected


async def test_a_full_pipe_holds_up_only_who_asks_for_room(pipe: tuple[int, int], nursery: trio.Nursery) -> None:
    read, write = pipe
    outlet = Outlet(write)
    nursery.start_soon(outlet.pump)
    outlet.put("x" * 3_000_000)
    got_room = trio.Event()

    async def ask() -> None:
        await outlet.room()
        got_room.set()

    nursery.start_soon(ask)
    await trio.testing.wait_all_tasks_blocked()
    assert not got_room.is_set()
    while not got_room.is_set():
        await trio.to_thread.run_sync(os.read, read, 1 << 20)
    nursery.cancel_scope.cancel()
    os.close(read)  # lets the abandoned thread end


async def test_a_stream_in_non_blocking_mode_is_waited_for(pipe: tuple[int, int], nursery: trio.Nursery) -> None:
    read, write = pipe
    os.set_blocking(write, False)
    outlet = Outlet(write)
    nursery.start_soon(outlet.pump)
    outlet.put("x" * 1_000_000)
    found = 0
    while found < 1_000_000:
        found += len(await trio.to_thread.run_sync(os.read, read, 1 << 20))
    await outlet.flush()
    assert outlet.idle


async def test_a_reader_that_leaves_is_reported_once_and_then_nothing_waits(
    pipe: tuple[int, int], nursery: trio.Nursery
) -> None:
    read, write = pipe
    os.close(read)
    heard: list[OSError] = []
    outlet = Outlet(write, heard.append)
    nursery.start_soon(outlet.pump)
    outlet.put("x" * 3_000_000)
    await outlet.room()
    outlet.put("more")
    await outlet.flush()
    assert [is_gone(error) for error in heard] == [True]


async def test_a_lone_surrogate_is_printed_as_its_escape(pipe: tuple[int, int], nursery: trio.Nursery) -> None:
    read, write = pipe
    outlet = Outlet(write)
    nursery.start_soon(outlet.pump)
    outlet.put('"\udc80"\n')
    await outlet.flush()
    assert os.read(read, 100) == b'"\\udc80"\n'
