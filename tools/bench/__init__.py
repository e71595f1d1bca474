"""Measures what Warmlane promises, each figure beside its floor in the same run.

A floor is the same work done without the engine: the raw Docker API over its socket, `docker run`, `docker exec`, a
plain Trio nursery. Engine and floor take turns, so that a busy machine slows both and their ratio still tells. What
is measured stands in `measures.py`; `run` beside this file is the command.
"""
