"""Starts the agent as the package `warmlane_agent`, wherever it lies, and leaves no trace on `sys.path`: modules of
blocks may have any other name."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, os.path.dirname(here))
    server = __import__("warmlane_agent.server", fromlist=["main"])
    del sys.path[0]
    os._exit(server.main())
