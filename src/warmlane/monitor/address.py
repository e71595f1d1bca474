"""What people type to say where a monitor is, as the one URL that it means."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from warmlane.errors import WatchError

_SCHEMES: Final = {"ws": "ws", "http": "ws"}


def monitor_url(text: str) -> str:
    """`HOST:PORT`, `http://HOST:PORT/` and `ws://HOST:PORT/ws` all mean `ws://HOST:PORT/ws`. Raises WatchError."""
    try:
        parts = urlsplit(text if "://" in text else f"ws://{text}")
    except ValueError as error:
        raise WatchError(text, f"that is no address ({error}); write HOST:PORT or ws://HOST:PORT/ws") from error
    try:
        port = parts.port
    except ValueError as error:
        raise WatchError(text, "the port must be a number up to 65535") from error
    if parts.scheme not in _SCHEMES:
        raise WatchError(text, f"'{parts.scheme}' is not spoken by a monitor; write HOST:PORT or ws://HOST:PORT/ws")
    if not parts.hostname or port is None:
        raise WatchError(text, "a host and a port are needed, such as 127.0.0.1:8080")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"ws://{host}:{port}{parts.path if parts.path.strip('/') else '/ws'}"
