"""What runs inside a container, on the standard library alone, and the client that talks to it."""
