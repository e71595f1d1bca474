"""The images that the Docker tests run in, built from Debian packages without a registry."""
