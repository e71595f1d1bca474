"""Talking to a Docker daemon from the tools, and starting a private one that leaves nothing behind."""
