"""The reaper: a process of its own, beside every session, that outlives an engine which was killed.

It waits for the end of the engine (`wait.py`), and then removes all that carries the session's label (`__main__.py`),
within ten seconds where the container host does its part. `service.open_reaper` is the session's door to it.
"""
