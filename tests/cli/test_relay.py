"""Warnings from anywhere are told by the loop, and only while it lives."""

from __future__ import annotations

import logging

import trio
import trio.testing

from warmlane.cli.relay import relay_warnings


async def test_a_warning_of_a_thread_is_told_in_the_loop() -> None:
    told: list[tuple[str, object]] = []

    def tell(text: str) -> None:
        told.append((text, trio.lowlevel.current_trio_token()))  # fails outside the loop's thread

    with relay_warnings(tell):
        await trio.to_thread.run_sync(logging.getLogger("some.library").warning, "it is %s", "odd")
        logging.getLogger("some.library").info("not worth telling")
        await trio.testing.wait_all_tasks_blocked()
    assert [text for text, _ in told] == ["it is odd"]


def test_a_warning_after_the_loop_has_ended_is_nobodys() -> None:
    told: list[str] = []

    async def leave_one_behind() -> logging.Handler:
        with relay_warnings(told.append):
            return logging.getLogger().handlers[-1]

    handler = trio.run(leave_one_behind)
    handler.handle(logging.makeLogRecord({"msg": "late", "levelno": logging.WARNING}))
    assert told == []
