"""The version, in one place: the package, `warmlane --version` and the agent's greeting read it here."""

__version__ = "0.1.0"
