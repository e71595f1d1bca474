"""The stream under a watcher: it begins with what was read already, and knows a slow reader from one that is gone."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair

from warmlane.monitor.stream import PIECE, PatientStream, let_read


async def test_what_was_seen_comes_first_in_the_sizes_asked_for() -> None:
    ours, theirs = memory_stream_pair()
    stream = PatientStream(ours, b"abcdef", grace=1)
    await theirs.send_all(b"ghi")
    assert [await stream.receive_some(4), await stream.receive_some(4), await stream.receive_some()] == [
        b"abcd",
        b"ef",
        b"ghi",
    ]


async def test_a_slow_reader_gets_a_large_message_whole(autojump_clock: MockClock) -> None:
    """Each piece has its own grace, so that the size of a message is no reason to drop its reader."""
    ours, theirs = lockstep_stream_pair()
    stream = PatientStream(ours, b"", grace=5)
    message = bytes(range(256)) * (10 * PIECE // 256)
    got = bytearray()

    async def read_slowly() -> None:
        while len(got) < len(message):
            await trio.sleep(4)
            got.extend(await theirs.receive_some(PIECE))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_slowly)
        await stream.send_all(message)
    assert got == message
    assert trio.current_time() >= 40


async def test_one_that_takes_nothing_breaks_the_stream(autojump_clock: MockClock) -> None:
    ours, _theirs = lockstep_stream_pair()
    stream = PatientStream(ours, b"", grace=5)
    begun = trio.current_time()
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x")
    assert trio.current_time() - begun == pytest.approx(5)
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"x")


async def test_cancelling_a_send_is_not_taken_for_a_dead_peer(autojump_clock: MockClock) -> None:
    ours, _theirs = lockstep_stream_pair()
    with trio.move_on_after(1) as scope:
        await PatientStream(ours, b"", grace=5).send_all(b"x")
    assert scope.cancelled_caught


async def test_last_words_are_waited_for_until_the_peer_has_ended() -> None:
    ours, theirs = memory_stream_pair()
    await ours.send_all(b"last words")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_read, ours)
        await theirs.send_all(b"unread" * 1000)
        assert [piece async for piece in theirs] == [b"last words"]
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        await theirs.aclose()


async def test_a_peer_that_never_ends_is_not_read_for_ever() -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(bytes(1024 * 1024 + 1))
    await let_read(ours)
