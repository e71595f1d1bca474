"""The ring and its feeds: order, loss with exact counts, closing, cancellation, bounds."""

from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from warmlane import bus as bus_module
from warmlane.bus import Bus, Feed
from warmlane.events import BlockLog, Envelope, Event, MonitorLost, PullProgress


def event(number: int = 0) -> Event:
    return PullProgress(image=f"image-{number}", status="Downloading")


def publish(bus: Bus, count: int) -> None:
    for _ in range(count):
        bus.publish(event(bus.seq + 1))


def waiting(feed: Feed) -> Iterator[Envelope]:
    """All that the feed has without waiting."""
    while (envelope := feed.receive_nowait()) is not None:
        yield envelope


def seen(feed: Feed) -> list[int | str]:
    """The numbers of what the feed has; of a loss, how much."""
    return [
        f"lost {envelope.event.count}" if isinstance(envelope.event, MonitorLost) else envelope.seq
        for envelope in waiting(feed)
    ]


def test_events_are_numbered_from_one_and_stamped() -> None:
    moments = iter([10.0, 20.5])
    bus = Bus(clock=lambda: next(moments))
    assert bus.seq == 0
    first = bus.publish(event(), "run-1")
    second = bus.publish(event())
    assert (first.seq, first.at, first.execution_id) == (1, 10.0, "run-1")
    assert (second.seq, second.at, second.execution_id) == (2, 20.5, None)
    assert bus.seq == 2


def test_a_feed_begins_with_the_next_event() -> None:
    bus = Bus()
    publish(bus, 2)
    with bus.feed() as feed:
        assert seen(feed) == []
        publish(bus, 2)
        assert seen(feed) == [3, 4]


@pytest.mark.parametrize(
    ("after", "expected"),
    [(0, [1, 2, 3]), (1, [2, 3]), (3, []), (-5, [1, 2, 3]), (99, [])],
)
def test_a_feed_begins_behind_the_number_it_is_given(after: int, expected: list[int | str]) -> None:
    """A number before the first or beyond the last means the beginning, or the next to come."""
    bus = Bus()
    publish(bus, 3)
    with bus.feed(after=after) as feed:
        assert seen(feed) == expected
        publish(bus, 1)
        assert seen(feed) == [4]


def test_all_feeds_get_the_same_envelope() -> None:
    """One object for all, so that it is encoded once."""
    bus = Bus()
    with bus.feed() as one, bus.feed() as other:
        published = bus.publish(event())
        assert one.receive_nowait() is published
        assert other.receive_nowait() is published


def test_a_lapped_feed_is_told_how_many_it_missed() -> None:
    """It goes on with the oldest event that is left, and the number of the loss is that of the last one missed."""
    bus = Bus(keep=3)
    with bus.feed() as feed:
        publish(bus, 10)
        lost = feed.receive_nowait()
        assert lost is not None
        assert lost.event == MonitorLost(count=7)
        assert (lost.seq, lost.execution_id) == (7, None)
        assert seen(feed) == [8, 9, 10]


def test_losses_add_up_with_what_was_read() -> None:
    """Lapped again and again, a feed misses nothing that it is not told of."""
    bus = Bus(keep=3)
    with bus.feed() as feed:
        got: list[int | str] = []
        for burst in (2, 5, 3, 4, 1):
            publish(bus, burst)
            got += seen(feed)
        assert got == [1, 2, "lost 2", 5, 6, 7, 8, 9, 10, "lost 1", 12, 13, 14, 15]


def test_a_feed_may_be_lapped_between_the_loss_and_the_next_event() -> None:
    bus = Bus(keep=2)
    with bus.feed() as feed:
        publish(bus, 5)
        lost = feed.receive_nowait()
        assert lost is not None
        assert lost.event == MonitorLost(count=3)
        publish(bus, 2)
        assert seen(feed) == ["lost 2", 6, 7]


def test_a_feed_behind_what_is_kept_begins_with_a_loss() -> None:
    bus = Bus(keep=2)
    publish(bus, 5)
    with bus.feed(after=1) as feed:
        assert seen(feed) == ["lost 2", 4, 5]


def test_a_feed_knows_how_far_behind_it_is() -> None:
    bus = Bus(keep=2)
    with bus.feed() as feed:
        assert feed.behind == 0
        publish(bus, 5)
        assert feed.behind == 5
        feed.receive_nowait()  # the loss of three
        assert feed.behind == 2


def test_a_slow_feed_costs_the_others_nothing() -> None:
    bus = Bus(keep=2)
    with bus.feed() as slow, bus.feed() as quick:
        got: list[int | str] = []
        for _ in range(5):
            publish(bus, 1)
            got += seen(quick)
        assert got == [1, 2, 3, 4, 5]
        assert seen(slow) == ["lost 3", 4, 5]


def test_a_whole_feed_misses_nothing() -> None:
    bus = Bus(keep=2)
    with bus.feed(whole=True) as feed:
        publish(bus, 1000)
        assert seen(feed) == list(range(1, 1001))


def test_what_a_whole_feed_has_read_is_let_go() -> None:
    bus = Bus(keep=2)
    with bus.feed(whole=True) as whole:
        publish(bus, 10)
        assert len(seen(whole)) == 10
        publish(bus, 1)
        with bus.feed(after=0) as late:
            assert seen(late) == ["lost 9", 10, 11]


def test_leaving_a_whole_feed_frees_what_it_pinned() -> None:
    bus = Bus(keep=2)
    with bus.feed(whole=True):
        publish(bus, 10)
        with bus.feed(after=0) as other:
            assert seen(other) == list(range(1, 11))
    with bus.feed(after=0) as other:
        assert seen(other) == ["lost 8", 9, 10]


def test_log_text_is_bounded_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few events there are, their text is not kept beyond the bound; other events count nothing."""
    monkeypatch.setattr(bus_module, "KEEP_LOG_CHARACTERS", 100)
    bus = Bus()
    with bus.feed(after=0) as feed:
        publish(bus, 5)
        for _ in range(4):
            bus.publish(BlockLog(block_id="b", container_id="c", stream="stdout", text="x" * 40))
        assert seen(feed) == ["lost 7", 8, 9]
        publish(bus, 50)
        assert seen(feed) == list(range(10, 60))


async def test_iterating_waits_for_what_comes() -> None:
    bus = Bus()
    got: list[int] = []

    async def reader() -> None:
        with bus.feed(after=0) as feed:
            async for envelope in feed:
                got.append(envelope.seq)  # noqa: PERF401 - one by one, as they come

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await wait_all_tasks_blocked()
        publish(bus, 2)
        await wait_all_tasks_blocked()
        assert got == [1, 2]
        publish(bus, 1)
        await wait_all_tasks_blocked()
        assert got == [1, 2, 3]
        bus.close()


async def test_after_closing_a_feed_reads_what_is_left_and_ends() -> None:
    bus = Bus()
    with bus.feed() as feed:
        publish(bus, 2)
        bus.close()
        assert [envelope.seq async for envelope in feed] == [1, 2]
        with pytest.raises(trio.EndOfChannel):
            await feed.receive()


async def test_closing_wakes_those_who_wait() -> None:
    bus = Bus()
    with bus.feed() as feed:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def reader() -> None:
                assert [envelope async for envelope in feed] == []

            await wait_all_tasks_blocked()
            bus.close()


async def test_a_feed_that_was_lapped_before_the_end_is_told_so() -> None:
    bus = Bus(keep=1)
    with bus.feed() as feed:
        publish(bus, 3)
        bus.close()
        got = [envelope.event async for envelope in feed]
        assert got == [MonitorLost(count=2), event(3)]


async def test_a_cancelled_receive_has_taken_nothing() -> None:
    """Cancelled with an event there to be had, or while waiting for one: it is still the next."""
    bus = Bus()
    with bus.feed() as feed:
        with trio.CancelScope() as scope:
            scope.cancel()
            publish(bus, 1)
            await feed.receive()
        assert scope.cancelled_caught
        assert (await feed.receive()).seq == 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.receive)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            publish(bus, 1)
        assert (await feed.receive()).seq == 2


async def test_receive_is_a_checkpoint_even_with_something_to_read() -> None:
    bus = Bus()
    with bus.feed() as feed:
        publish(bus, 1)
        with trio.testing.assert_checkpoints():
            await feed.receive()


async def test_a_thousand_feeds_get_everything_in_order() -> None:
    bus = Bus()
    got: list[list[int]] = []

    async def reader() -> None:
        with bus.feed(after=0) as feed:
            got.append([envelope.seq async for envelope in feed])

    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(reader)
        await wait_all_tasks_blocked()
        for _ in range(5):
            publish(bus, 2)
            await trio.lowlevel.checkpoint()
        bus.close()
    assert got == [list(range(1, 11))] * 1000
