"""The command line: arguments, live progress, signals, exit codes.

Nothing is imported before a command needs it, so that `warmlane --help` answers at once.
"""
