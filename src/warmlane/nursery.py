"""A nursery for services: tasks that serve the body of a context manager and end with it.

That a service uses tasks is an implementation detail, so an exception of the body leaves as it came, in no group.
A crash of a service task is our own bug; it cancels the body and leaves as the group it is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import trio


@asynccontextmanager
async def open_service_nursery() -> AsyncGenerator[trio.Nursery]:
    """A nursery that is cancelled when the body ends, however it ends; it leaves when all its tasks have ended."""
    from_body: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:  # noqa: BLE001, ASYNC103 - kept for a moment, raised below
                from_body = error
            nursery.cancel_scope.cancel()
    except BaseException as error:  # noqa: ASYNC103 - in its place goes what the body raised
        if from_body is None or _is_cancellation(from_body) or not _is_cancellation(error):
            raise
    if from_body is not None:
        raise from_body


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_cancellation, cast("BaseExceptionGroup[BaseException]", error).exceptions))
    return isinstance(error, trio.Cancelled)
