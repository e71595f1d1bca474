"""The server inside a container. It is mounted into images that we do not know, so it needs nothing but the standard
library of Python 3.8 or newer, and is quick to start: `python3 -I -S .../warmlane_agent/__main__.py /path/agent.json`.

agent.json: `listen` (`tcp://0.0.0.0:9000`, `unix:///path`), `token`, `env` (for itself and its blocks), `workspace`
(path or null), `lifeline` (fd 0 is a pipe that the engine holds: its end is ours), `scratch` (for the blocks' working
directories; /tmp), `transient` (folders that a container has for itself: they are emptied when no block is left, and a
block's HOME is its working directory; absent for local processes). A second argument is the number of a descriptor
that listens already. Exit code 98: the address is taken; 97: the workspace cannot be
read.

    GET /health            {"status": "ok", "agent": 1, "python": "3.12", "runs": N}
    POST /blocks/{run}     body: a line of JSON with the fields of `protocol.BlockCall` but for `input`; then the input,
                           as JSON. Answers NDJSON: {"log": stream, "text": ..., "partial": true?} ..., {"exit": {...}}.
                           Hanging up ends the block. 409 if that run is under way.
    DELETE /blocks/{run}   ends the run, and answers when none of its processes is left, or if it is unknown or over.

Every request carries the token, has a connection of its own, and gets 401 without.

Processes, of one thread each, so that forking is safe. The *agent* accepts (`door`), reads requests and hands each
block's connection to a *supervisor*, a process of that block (`runs`). The supervisor adopts every orphan of its block
(it is a subreaper), so it knows when the last one is gone: when it has no child left (`supervisor`). A `python` block's
supervisor is forked from a *zygote*, which has imported the module (`zygote`, `functions`); a command's from the agent.
A supervisor that is killed leaves its block to the agent, which hunts it down. When the agent dies, the supervisors end
their blocks.
"""
