"""How much the monitor bears from those who connect to it: one class, given at the door. Durations are seconds."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Limits:
    """The bounds of one monitor. The defaults are meant to stay; tests set shorter ones."""

    head: float = 5.0
    """For a whole request head, and again for the upgrade to a WebSocket."""
    head_size: int = 8192
    """The largest request head, in bytes."""
    send: float = 5.0
    """For the peer to take the next piece (`stream.PIECE`) of what it is sent; after it, it is dropped."""
    heartbeat: float = 15.0
    """Between two pings."""
    pong: float = 30.0
    """For the answer to a ping. A slow reader finds it behind all that it has yet to read."""
    message_size: int = 4096
    """The largest message a watcher may send, in characters; it has nothing to say anyway."""
    close: float = 2.0
    """For a watcher's answer to our goodbye; and, when the monitor ends, for all of them together."""
    linger: float = 1.0
    """For the peer to read our last words before the connection goes."""
    clients: int = 256
    """Watchers at one time; the next one is told 503."""
    connections: int = 320
    """Connections at one time, in any state; one beyond them is closed unheard."""
