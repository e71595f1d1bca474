"""Whether a port of this host's loopback address is free; for runtimes whose containers listen there."""

from __future__ import annotations

import socket


def port_is_free(port: int) -> bool:
    """Whether a listener could take 127.0.0.1:port now. A hint: it may be taken in the next moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
