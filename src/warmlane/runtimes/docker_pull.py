"""Pulling images that are missing: once however many ask, with progress over all layers.

The first who asks pulls; the others wait for it and hear its progress. If the first is cancelled, one of those who
wait takes over (the daemon keeps the layers that were complete). So nobody's pull outlives those who want it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import trio
from attrs import Factory, define

from warmlane.errors import ContainerFaultError, RuntimeRefusedError
from warmlane.events import PullProgress
from warmlane.runtimes.docker_calls import Calls

_INTERVAL = 0.2  # seconds between two announcements: enough for eyes, and nothing for the bus

Listener = Callable[[PullProgress], None]


@define
class _Flight:
    """A pull under way. `failed` is set before `over`; neither failed nor successful means that it was cancelled."""

    listeners: list[Listener] = Factory(list[Listener])
    over: trio.Event = Factory(trio.Event)
    failed: ContainerFaultError | None = None

    def tell(self, progress: PullProgress) -> None:
        for listener in tuple(self.listeners):
            listener(progress)


class Images:
    """The images of one daemon, as far as one session has asked for them."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._users: dict[str, str] = {}
        self._flights: dict[str, _Flight] = {}

    def user_of(self, image: str) -> str:
        """The user that a prepared image says it wants to run as; empty for root, or if it has not been prepared."""
        return self._users.get(image, "")

    def forget(self, image: str) -> None:
        """The daemon says that it does not have the image any more: look again next time."""
        self._users.pop(image, None)

    async def prepare(self, image: str, progress: Listener) -> None:
        """Returns when the daemon has the image. Raises ContainerFaultError with its words if it cannot be had."""
        while image not in self._users:
            if (flight := self._flights.get(image)) is None:
                await self._lead(image, progress)
            else:
                await self._follow(flight, progress)

    async def _lead(self, image: str, progress: Listener) -> None:
        flight = self._flights[image] = _Flight(listeners=[progress])
        try:
            about = await self._calls.image(image)
            if about is None:
                await self._pull(image, flight)
                about = await self._calls.image(image)
            if about is None:
                raise ContainerFaultError("", image, "its image is still missing after the pull")
            config: dict[str, Any] = about.get("Config") or {}
            self._users[image] = config.get("User") or ""
        except ContainerFaultError as error:
            flight.failed = error
            raise
        finally:
            del self._flights[image]
            flight.over.set()

    async def _follow(self, flight: _Flight, progress: Listener) -> None:
        flight.listeners.append(progress)
        try:
            await flight.over.wait()
        finally:
            flight.listeners.remove(progress)
        if flight.failed is not None:
            raise ContainerFaultError("", flight.failed.image, flight.failed.said) from flight.failed

    async def _pull(self, image: str, flight: _Flight) -> None:
        meter = PullMeter(image)
        trouble: list[str] = []

        def on_message(message: dict[str, Any]) -> None:
            if "error" in message:
                trouble.append(" ".join(str(message["error"]).split()))
            elif (seen := meter.feed(message, time.monotonic())) is not None:
                trio.from_thread.run_sync(flight.tell, seen)

        flight.tell(meter.progress("pulling"))
        try:
            await self._calls.pull(image, on_message)
        except RuntimeRefusedError as refusal:
            trouble.append(refusal.said)
        if trouble:
            said = f"its image could not be pulled: {trouble[0]}; check its name, or pull it"
            raise ContainerFaultError("", image, said)
        flight.tell(meter.progress("complete"))


class PullMeter:
    """Adds up what the daemon says of single layers. Knows no clock: `now` is given, in seconds."""

    def __init__(self, image: str) -> None:
        self._image = image
        self._layers: dict[str, tuple[int, int]] = {}
        self._next = float("-inf")

    def feed(self, message: dict[str, Any], now: float) -> PullProgress | None:
        """Takes one message of a pull; returns what to announce, if it is time for that."""
        layer, status = message.get("id"), str(message.get("status", ""))
        detail: dict[str, Any] = message.get("progressDetail") or {}
        current, total = detail.get("current"), detail.get("total")
        if layer is None:
            return None
        if status == "Downloading" and isinstance(current, int) and isinstance(total, int) and total > 0:
            self._layers[layer] = (current, total)
        elif status in ("Download complete", "Pull complete") and layer in self._layers:
            size = self._layers[layer][1]
            self._layers[layer] = (size, size)
        if status not in ("Downloading", "Extracting") or now < self._next:
            return None
        self._next = now + _INTERVAL
        return self.progress(status.lower())

    def progress(self, status: str) -> PullProgress:
        """What is known now: bytes downloaded and to be downloaded, over all layers heard of so far."""
        if not self._layers:
            return PullProgress(image=self._image, status=status)
        current, total = (sum(column) for column in zip(*self._layers.values(), strict=True))
        return PullProgress(image=self._image, status=status, current=current, total=total)
