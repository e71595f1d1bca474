"""Watching a session from outside: one port that tells (`server`), a client that listens (`client`), a picture of what
it heard (`view`, `render`, `plain`), and the three put together for a terminal (`live`).

Telling never slows what is told about: each watcher has its own place in the session's ring of events, and loses what
it cannot keep up with.
"""
